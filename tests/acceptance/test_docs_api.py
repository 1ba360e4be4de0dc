"""docs/api.md: its examples run, and its list of public names is what `upswell` exports."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import upswell

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
PROMISED = PAGE[PAGE.index("## What is promised") :]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def signature(function: Any) -> str:
    parameters = [
        one.replace(annotation=inspect.Parameter.empty)
        for name, one in inspect.signature(function).parameters.items()
        if name != "self"
    ]
    return f"{function.__name__}{inspect.Signature(parameters)}"


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    patient = "\n".join(blocks("python")).replace("timeout=30", "timeout=100")  # the machine may be busy
    (tmp_path / "page.py").write_text(patient)
    start = "\n".join([*blocks("sh"), "python page.py", "kill -INT %1", "wait %1"])
    done = subprocess.run(
        ["bash", "-e", "-u", "-m", "-c", start],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = tmp_path / ".local/state/upswell/store"
    url, reason, dead, retried, *many, pair, dog, ready = done.stdout.splitlines()
    (cat,) = store.rglob("cats/1.jpg")
    assert (url, cat.read_text()) == (cat.as_uri(), "cat\n")
    assert reason.startswith("the source is not from source_origins")
    assert reason in dead
    assert retried == "1 published again"
    assert pair == "2 stored 0 dead ()"
    assert many
    assert dog.endswith("dog.jpg")
    assert ready == "0"


def test_every_public_name_is_promised_and_no_other() -> None:
    first_cells = re.findall(r"^\| `(\w+)` \|", PROMISED, re.MULTILINE)
    headings = re.findall(r"\w+", " ".join(re.findall(r"^### ([\w, ]+)", PROMISED, re.MULTILINE)))
    words = {"Data", "Errors", "Your"}
    names = {name for name in (*first_cells, *headings) if name[0].isupper()} - words
    assert names | {"handler", "policy", "__version__"} == set(upswell.__all__)
    assert {"handler", "policy"} <= {*first_cells}
    assert all(hasattr(upswell, name) for name in upswell.__all__)


@pytest.mark.parametrize("name", ["Client", "AsyncClient", "UploadHandle", "AsyncUploadHandle"])
def test_every_method_is_listed_with_its_signature(name: str) -> None:
    kind = getattr(upswell, name)
    made = signature(kind.__init__).replace("__init__", name, 1)
    if "Client" in name:
        assert f"### {made}\n" in PROMISED
    for method in vars(kind):
        if not method.startswith("_"):
            listed = getattr(kind, method)
            text = signature(listed) if callable(listed) else method
            assert f"| `{text}` |" in PROMISED


@pytest.mark.parametrize(
    "name", ["UploadRequest", "UploadResult", "PublishCounts", "AppStatus", "DeadUpload", "Stored"]
)
def test_every_field_is_listed(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", PROMISED, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", row)) == getattr(upswell, name).__struct_fields__
