"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.recorded_journal import write_journal
from support.terminal import Terminal

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return BLOCKS.findall((ROOT / page).read_text("utf-8"))


def test_the_first_block_of_the_readme_is_the_two_commands() -> None:
    """CI calls both of them itself."""
    assert re.findall(r"^make \w+", blocks("README.md")[0], re.MULTILINE) == ["make demo", "make test"]


@pytest.mark.slow
def test_the_readmes_own_uploads_typed_at_a_terminal_are_stored_and_what_was_started_stops(
    tmp_path: Path,
) -> None:
    """What runs in the background prints nothing into the prompt, and ends as the README says."""
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    block = next(block for block in blocks("README.md") if "upswell up" in block)
    lines = [line.split("#")[0].strip() for line in block.splitlines()]
    assert lines[-1] == "kill %1"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    with Terminal(environment, tmp_path) as terminal:
        for line in lines[:-1]:
            shown = terminal.run(line)
            assert shown.status == 0, shown.text
            assert "app=" not in shown.text
        assert re.search(r"\[1\].*Running.*upswell up", terminal.run("jobs").text)
        assert "ended with 0" in terminal.run("kill %1; wait %1; echo ended with $?").text
        shown = terminal.run("cat upswell.log").text
        assert "scaler.worker_started" in shown
        assert "scaler.worker_left" in shown
    stored = [path for path in (tmp_path / "state/upswell/store").rglob("README.md") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [(ROOT / "README.md").read_bytes()]


def test_every_block_of_the_page_on_simulating_works(tmp_path: Path) -> None:
    write_journal(tmp_path / ".local/state/upswell/journal.sqlite")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    commands = blocks("docs/simulating.md")
    assert len(commands) == 4
    for block in commands:
        done = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, block + done.stdout + done.stderr
        assert done.stdout
    assert (tmp_path / "compare.svg").stat().st_size > 1000


def test_the_index_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/README.md").read_text("utf-8")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *[str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")]],
)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
