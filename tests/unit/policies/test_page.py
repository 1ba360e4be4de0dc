"""docs/policies.md: what it shows runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from upswell.cli import upswell
from upswell.policies.registry import policy_for
from upswell.settings import Settings
from upswell.testing.snapshots import constant_time, ordinary

PAGE = (Path(__file__).parents[3] / "docs/policies.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [text.strip() for kind, text in BLOCKS if kind == "sh"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = [text for kind, text in BLOCKS if kind == "python"]
    (tmp_path / "mypolicy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_the_policy_says_the_sentence_that_the_page_quotes() -> None:
    seen = ordinary(
        messages_ready=20, messages_unacknowledged=4, service_time=constant_time(4.0), slots_per_worker=2
    )
    decision = policy_for(Settings(policy="mypolicy:FinishWithin")).decide(seen)
    assert f"`{decision.reason}`" in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_page_runs(command: str) -> None:
    done = CliRunner().invoke(upswell, shlex.split(command)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "FinishWithin" in done.output
