"""What every fleet promises; see the package."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from upswell.fleets.protocol import Fleet, FleetWorker, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable

STAND_IN = Path(__file__).with_name("stand_in_worker.py")
"""The program that a fleet under test starts in place of `upswell worker`, with the same arguments."""

OpenFleet = Callable[[], Fleet]
T = TypeVar("T")


async def clean(fleet: Fleet) -> None:
    """End every worker of a fleet, and close it."""
    for worker in await fleet.list():
        await fleet.kill(worker.worker_id)
        await until(fleet, worker.worker_id, "exited")
        await fleet.forget(worker.worker_id)
    await fleet.close()


def spec(worker_id: str = "w1", *, app_id: str = "a1", standby: bool = False) -> WorkerSpec:
    """Return a worker to start; of the application `fails` it ends at once with exit code 3."""
    return WorkerSpec(
        worker_id=worker_id,
        app_id=app_id,
        standby=standby,
        requested_at=1234567890.123,
        environment={"DRAIN_SECONDS": "0.1", "AMQPURL": "amqp://user:hunter2@host/"},
    )


async def until(fleet: Fleet, worker_id: str, state: str) -> FleetWorker:
    """Return a worker when it is in a state."""
    deadline = time.monotonic() + 60
    while True:
        for worker in await fleet.list():
            if worker.worker_id == worker_id and worker.state == state:
                return worker
        assert time.monotonic() < deadline, await fleet.list()
        await asyncio.sleep(0.05)


async def until_printed(fleet: Fleet, worker_id: str, text: str) -> str:
    """Return what a worker printed when a text is in it."""
    deadline = time.monotonic() + 60
    while text not in (printed := await fleet.last_lines(worker_id)):
        assert time.monotonic() < deadline, printed
        await asyncio.sleep(0.05)
    return printed


def command_lines() -> list[bytes]:
    """Return the command line of every process of this machine."""
    found: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found.append(path.read_bytes())
    return found


def play(open_fleet: OpenFleet, story: Callable[[Fleet], Awaitable[T]]) -> T:
    """Return what a story about a fleet returns."""

    async def scenario() -> T:
        fleet = open_fleet()
        try:
            return await story(fleet)
        finally:
            await fleet.close()

    return asyncio.run(scenario())


class FleetContract:
    """Derive a class from this one and give it the fixture `open_fleet`; its workers run `STAND_IN`."""

    signals_by_deleting = False
    """Whether the platform signals only workers that it deletes: SIGTERM then comes a moment before SIGKILL,
    and a worker's log may go before its exit code is known."""

    @pytest.fixture
    def open_fleet(self) -> OpenFleet:
        """Return what opens the same fleet again, as a restarted scaler does; `clean` removes its workers."""
        raise NotImplementedError

    def test_a_started_worker_is_listed_with_all_that_was_asked_for(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            assert await fleet.list() == []
            await fleet.start(spec(standby=True))
            assert await fleet.list() == [
                FleetWorker(
                    worker_id="w1", app_id="a1", state="running", requested_at=1234567890.123, standby=True
                )
            ]
            assert "--app a1 --standby" in await until_printed(fleet, "w1", "started w1")

        play(open_fleet, story)

    def test_a_new_fleet_object_finds_the_workers_of_the_one_before(self, open_fleet: OpenFleet) -> None:
        """Labels, not memory: a scaler that was killed and started again adopts what runs."""

        async def story(fleet: Fleet) -> None:
            await fleet.start(spec("w1"))
            await fleet.start(spec("w2", app_id="b2"))
            after_restart = open_fleet()
            listed = await after_restart.list()
            assert {(w.worker_id, w.app_id, w.state) for w in listed} == {
                ("w1", "a1", "running"),
                ("w2", "b2", "running"),
            }
            await until_printed(after_restart, "w1", "started w1")
            await after_restart.drain("w1")
            await until(after_restart, "w1", "exited")
            await after_restart.close()

        play(open_fleet, story)

    def test_a_drained_worker_finishes_and_exits_with_zero(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_printed(fleet, "w1", "started")
            await fleet.drain("w1")
            assert (await until(fleet, "w1", "exited")).exit_code == 0
            assert self.signals_by_deleting or "draining" in await fleet.last_lines("w1")

        play(open_fleet, story)

    def test_a_killed_worker_is_listed_as_exited_and_its_exit_code_is_not_zero(
        self, open_fleet: OpenFleet
    ) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_printed(fleet, "w1", "started")
            await fleet.kill("w1")
            expected = (-9, 137, *([0] if self.signals_by_deleting else []))
            assert (await until(fleet, "w1", "exited")).exit_code in expected

        play(open_fleet, story)

    def test_a_crashed_worker_shows_its_exit_code_and_its_last_lines(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec(app_id="fails"))
            assert (await until(fleet, "w1", "exited")).exit_code == 3
            assert "cannot reach" in await until_printed(fleet, "w1", "cannot")

        play(open_fleet, story)

    def test_a_log_is_read_from_its_start_or_its_end_and_on_from_where_one_was(
        self, open_fleet: OpenFleet
    ) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_printed(fleet, "w1", "started w1")
            first = await fleet.read_log("w1", after="")
            assert [line.split()[0] for line in first.lines] == ["started"]
            assert (await fleet.read_log("w1")).lines == first.lines
            assert (await fleet.read_log("w1", after=first.position)).lines == []
            await fleet.drain("w1")
            await until_printed(fleet, "w1", "draining")
            assert (await fleet.read_log("w1", after=first.position)).lines == ["draining"]
            assert (await fleet.read_log("w1", limit=1)).lines == ["draining"]
            assert (await fleet.read_log("never-was")).lines == []

        play(open_fleet, story)

    def test_a_forgotten_worker_is_listed_no_more(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec(app_id="fails"))
            await until(fleet, "w1", "exited")
            await fleet.forget("w1")
            assert await fleet.list() == []

        play(open_fleet, story)

    def test_asking_a_worker_that_is_gone_is_no_error(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec(app_id="fails"))
            await until(fleet, "w1", "exited")
            for worker_id in ("w1", "never-was"):
                await fleet.drain(worker_id)
                await fleet.kill(worker_id)
                await fleet.forget(worker_id)
            assert await fleet.last_lines("never-was") == ""

        play(open_fleet, story)

    def test_workers_are_started_side_by_side(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await asyncio.gather(*(fleet.start(spec(f"w{number}")) for number in range(5)))
            assert len(await fleet.list()) == 5

        play(open_fleet, story)

    def test_no_secret_stands_on_a_command_line(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_printed(fleet, "w1", "started")
            lines = command_lines()
            assert any(b"stand_in_worker" in line or b"/script.py" in line for line in lines)
            assert not any(b"hunter2" in line for line in lines)

        play(open_fleet, story)
