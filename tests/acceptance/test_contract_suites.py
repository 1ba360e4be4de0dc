"""`upswell.testing`, as the tests of a package that adds a fleet, a handler, a store and a policy use it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TESTS = """
import asyncio
import sys
import hypothesis
import pytest
# A failure is all that is asked for, not the smallest one: looking for that takes longer than all the rest.
hypothesis.settings.register_profile("found", phases=[hypothesis.Phase.generate])
hypothesis.settings.load_profile("found")
from upswell.fleets.process import ProcessFleet
from upswell.handlers import Stored
from upswell.settings import Settings
from upswell.analysis.decision import Decision
from upswell.stores.destinations.directory import DirectoryStore
from upswell.testing import STAND_IN, FleetContract, HandlerContract, PolicyContract, StoreContract
from upswell.testing.fleets import clean
from upswell.testing.stores import stored


class MyFleet(ProcessFleet):
    async def last_lines(self, worker_id):
        return {last_lines}


class TestMyFleet(FleetContract):
    @pytest.fixture
    def open_fleet(self, tmp_path):
        def open_it():
            return MyFleet(tmp_path, command=(sys.executable, str(STAND_IN)))

        yield open_it
        asyncio.run(clean(open_it()))


class MyStore(DirectoryStore):
    def put(self, key, source, *, checksum=None, **how):
        return super().put(key, source, checksum={checksum}, **how)


class TestMyStore(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda **changes: MyStore(tmp_path / "kept", **changes)

    @pytest.fixture
    def contents(self, tmp_path):
        return lambda: {{
            str(path.relative_to(tmp_path / "kept")): stored(path.read_bytes())
            for path in (tmp_path / "kept").rglob("*") if path.is_file()
        }}


async def handler(request, context):
    def work():
        with context.open_source() as source:
            return context.store(source.read())
    return await context.in_thread(work)


class MyPolicy:
    def decide(self, snapshot):
        current, depth = snapshot.workers.desired, snapshot.queue_depth
        if depth is None:
            return Decision.hold("mine", current, "the queue's depth is unknown")
        return Decision.of("mine", current, {wanted}, "whatever waits")


@pytest.mark.parametrize("policy", ["test_mine:MyPolicy"])
class TestMyPolicy(PolicyContract):
    pass


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


CHOSEN = (
    "(wrong_checksum or drained_worker or asked_for_twice or handled_twice or permanent or backlog)"
    " and not (large or guarded)"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last_lines", "wanted", "checksum", "failed"),
    [
        ("await super().last_lines(worker_id)", "min(depth, 40)", "checksum", 0),
        ("'started w1 cannot'", "max(0, 10**6 - depth)", "None", 3),
    ],
)
def test_the_suites_hold_other_packages_to_the_promises(
    last_lines: str, wanted: str, checksum: str, failed: int, tmp_path: Path
) -> None:
    text = TESTS.format(last_lines=last_lines, wanted=wanted, checksum=checksum, folder=str(tmp_path))
    (tmp_path / "test_mine.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", CHOSEN],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == int(failed > 0), done.stdout
    assert (f"{failed} failed, {6 - failed} passed" if failed else "6 passed") in done.stdout
