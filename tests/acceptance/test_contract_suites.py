"""`upswell.testing`, as the tests of a package that adds a fleet and a handler use it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TESTS = """
import sys
import pytest
from upswell.fleets.process import ProcessFleet
from upswell.handlers import Stored
from upswell.settings import Settings
from upswell.testing import STAND_IN, FleetContract, HandlerContract


class MyFleet(ProcessFleet):
    async def last_lines(self, worker_id):
        return {last_lines}


class TestMyFleet(FleetContract):
    @pytest.fixture
    def open_fleet(self, tmp_path):
        return lambda: MyFleet(tmp_path, command=(sys.executable, str(STAND_IN)))


async def handler(request, context):
    def work():
        with context.open_source() as source:
            return context.store(source.read())
    return await context.in_thread(work)


class TestMyHandler(HandlerContract):
    @pytest.fixture
    def settings(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_bytes(b"12345")
        monkeypatch.setattr("sys.path", [*sys.path, {folder!r}])
        return Settings(
            handler="test_mine:handler", slots=4, source_roots=[str(tmp_path)],
            destination=str(tmp_path / "to"),
        )
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last_lines", "failed"), [("await super().last_lines(worker_id)", False), ("'started w1 cannot'", True)]
)
def test_the_suites_hold_other_packages_to_the_promises(
    last_lines: str, failed: bool, tmp_path: Path
) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS.format(last_lines=last_lines, folder=str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "drained or twice or permanent"],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == int(failed), done.stdout
    assert ("1 failed, 2 passed" if failed else "3 passed") in done.stdout
