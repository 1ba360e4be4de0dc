"""The blocks of docs/publishing.md and docs/handlers.md work as they stand there, one after the other."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_blocks(page: str, folder: Path) -> str:
    """Run all blocks of a page in one shell, and end its worker in good order; return what was printed."""
    blocks = BLOCK.findall((DOCS / page).read_text("utf-8"))
    done = subprocess.run(
        ["bash", "-e", "-u", "-m", "-c", "\n".join([*blocks, "kill -INT %1", "wait %1"])],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


@pytest.mark.slow
def test_the_page_on_publishing(tmp_path: Path) -> None:
    (tmp_path / "photos/2026/drafts").mkdir(parents=True)
    photos = {f"2026/{name}.jpg": name.encode() * 1000 for name in ("beach", "wood", "drafts/sky")}
    photos["2026/notes.txt"] = b"notes"
    for name, body in photos.items():
        (tmp_path / "photos" / name).write_bytes(body)
    told = run_blocks("publishing.md", tmp_path)
    stored = files(tmp_path / "stored")
    assert {name: stored.pop(name) for name in photos} == photos  # the folder
    beach = photos["2026/beach.jpg"]
    assert stored.pop("beach.jpg") == beach  # the files
    assert stored.pop("wood.jpg") == photos["2026/wood.jpg"]
    assert stored.pop("favourite.jpg") == beach  # the list
    assert stored.pop("one/beach.jpg") == beach  # the single file
    assert sorted(Path(name).name for name in stored) == ["beach.jpg", "sky.jpg", "wood.jpg"]  # of `find`
    dry = re.findall(r"^ *[\d,]+  (\S+)  file:", told, re.MULTILINE)
    assert dry == ["2026/beach.jpg", "2026/wood.jpg"]
    assert "verified 4 files by the destination: all correct" in told
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["found"], summary["skipped"], summary["published"]) == (4, 4, 0)


@pytest.mark.slow
def test_the_page_on_handlers(tmp_path: Path) -> None:
    code = CODE.findall((DOCS / "handlers.md").read_text("utf-8"))
    assert len(code) == 1
    (tmp_path / "mine.py").write_text(code[0])
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "notes").mkdir()
    for name in ("a", "b"):
        (tmp_path / "notes" / f"{name}.txt").write_text(name * 1000)
    run_blocks("handlers.md", tmp_path)
    packed = {name: gzip.decompress(body).decode() for name, body in files(tmp_path / "packed").items()}
    assert packed == {"notes.txt.gz": "notes", "a.txt.gz": "a" * 1000, "b.txt.gz": "b" * 1000}
