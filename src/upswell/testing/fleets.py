"""What every fleet promises; see the package."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from upswell.errors import FleetError, FleetFullError
from upswell.fleets.protocol import Fleet, FleetWorker, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

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


def spec(
    worker_id: str = "w1", *, app_id: str = "a1", standby: bool = False, drain_seconds: float = 0.1
) -> WorkerSpec:
    """Return a worker to start; of the application `fails` it ends at once with exit code 3."""
    return WorkerSpec(
        worker_id=worker_id,
        app_id=app_id,
        standby=standby,
        requested_at=1234567890.123,
        environment={"DRAIN_SECONDS": str(drain_seconds), "AMQPURL": "amqp://user:hunter2@host/"},
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


async def until_runs(fleet: Fleet, worker_id: str) -> str:
    """Return what a worker printed when it runs, and its platform says so.

    One that is signalled before its platform has noted that it runs may just be taken away.
    """
    printed = await until_printed(fleet, worker_id, f"started {worker_id}")
    deadline = time.monotonic() + 60
    while (worker := await until(fleet, worker_id, "running")).pending:
        assert time.monotonic() < deadline, worker
        await asyncio.sleep(0.05)
    return printed


@contextlib.asynccontextmanager
async def watched(fleet: Fleet) -> AsyncGenerator[asyncio.Event]:
    """Watch a fleet while the context lasts; the event is set whenever something may have changed."""
    changed = asyncio.Event()
    watching = asyncio.create_task(fleet.watch(changed.set))
    try:
        yield changed
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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
    """Derive a class from this one and give it the fixture `open_fleet`; its workers run `STAND_IN`.

    `many` workers are started side by side. More is asked where a platform can fail: derive from
    `AbsentPlatformContract`, `MissingImageContract` and `FullPlatformContract`, too.
    """

    many = 5

    signals_by_deleting = False
    """Whether the platform signals only workers that it deletes: SIGTERM then comes a moment before SIGKILL,
    and a worker's log and even its exit code may go before they are seen."""

    def _drained(self) -> tuple[int | None, ...]:
        """Return the exit codes that a drained worker may have."""
        return (0, None) if self.signals_by_deleting else (0,)

    def _killed(self) -> tuple[int | None, ...]:
        """Return the exit codes that a killed worker may have."""
        return (-9, 137, 0, None) if self.signals_by_deleting else (-9, 137)

    @pytest.fixture
    def open_fleet(self) -> OpenFleet:
        """Return what opens the same fleet again, as a restarted scaler does; `clean` removes its workers."""
        raise NotImplementedError

    def test_a_started_worker_is_listed_with_all_that_was_asked_for(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            assert await fleet.list() == []
            await fleet.start(spec(standby=True))
            (worker,) = await fleet.list()
            assert worker == FleetWorker(
                worker_id="w1",
                app_id="a1",
                state="running",
                requested_at=1234567890.123,
                standby=True,
                node=worker.node,
                pending=worker.pending,
            )
            assert "--app a1 --standby" in await until_printed(fleet, "w1", "started w1")
            assert "AMQPURL" in await fleet.last_lines("w1")  # it has what is secret, too

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
            await until_runs(after_restart, "w1")
            await after_restart.drain("w1")
            await until(after_restart, "w1", "exited")
            await after_restart.close()

        play(open_fleet, story)

    def test_a_drained_worker_finishes_and_exits_with_zero(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_runs(fleet, "w1")
            await fleet.drain("w1")
            assert (await until(fleet, "w1", "exited")).exit_code in self._drained()
            if not self.signals_by_deleting:
                await until_printed(fleet, "w1", "draining")  # a platform may keep a log in its own time

        play(open_fleet, story)

    def test_a_killed_worker_is_listed_as_exited_and_its_exit_code_is_not_zero(
        self, open_fleet: OpenFleet
    ) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_runs(fleet, "w1")
            await fleet.kill("w1")
            assert (await until(fleet, "w1", "exited")).exit_code in self._killed()

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
            # Where the log goes with its worker, this one stays until all is read.
            await fleet.start(spec(drain_seconds=20.0 if self.signals_by_deleting else 0.1))
            await until_runs(fleet, "w1")
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
            await asyncio.gather(*(fleet.start(spec(f"w{number}")) for number in range(self.many)))
            assert len(await fleet.list()) == self.many
            after_restart = open_fleet()
            assert len(await after_restart.list()) == self.many
            await after_restart.close()

        play(open_fleet, story)

    def test_a_start_asked_for_twice_is_one_worker(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await fleet.start(spec())
            again = open_fleet()
            await again.start(spec())
            assert [worker.worker_id for worker in await again.list()] == ["w1"]
            await again.close()
            await until_printed(fleet, "w1", "started")
            assert [(w.worker_id, w.state) for w in await fleet.list()] == [("w1", "running")]

        play(open_fleet, story)

    def test_two_scalers_at_once_see_the_same_workers(self, open_fleet: OpenFleet) -> None:
        """One of them is about to step down: whatever each starts, the other knows it."""

        async def story(fleet: Fleet) -> None:
            other = open_fleet()
            async with watched(fleet), watched(other):
                await asyncio.gather(fleet.start(spec("w1")), other.start(spec("w2")))
                for one in (fleet, other):
                    await until(one, "w1", "running")
                    await until(one, "w2", "running")
                await until_runs(fleet, "w2")
                await fleet.drain("w2")
                await until(other, "w2", "exited")
            await other.close()

        play(open_fleet, story)

    def test_a_start_has_its_secrets_whatever_another_scaler_has_cleaned_up(
        self, open_fleet: OpenFleet
    ) -> None:
        """No worker needed them when the other one looked."""

        async def story(fleet: Fleet) -> None:
            await fleet.start(spec("w1", app_id="fails"))
            await until(fleet, "w1", "exited")
            await fleet.forget("w1")
            other = open_fleet()
            await other.list()
            await fleet.start(spec("w2"))
            await until_runs(fleet, "w2")
            assert "AMQPURL" in await fleet.last_lines("w2")
            await other.close()

        play(open_fleet, story)

    def test_the_end_of_a_worker_is_told_to_who_watches(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            async with watched(fleet) as changed:
                await fleet.start(spec())
                await until_runs(fleet, "w1")
                changed.clear()
                await fleet.kill("w1")
                await asyncio.wait_for(changed.wait(), 60)
                assert (await until(fleet, "w1", "exited")).exit_code in self._killed()
                await fleet.forget("w1")
                assert await fleet.list() == []

        play(open_fleet, story)

    def test_a_worker_that_starts_slowly_is_listed_meanwhile(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            async with watched(fleet):
                starting = asyncio.create_task(fleet.start(spec()))
                seen: set[int] = set()
                while not starting.done():
                    seen.add(len([w for w in await fleet.list() if w.state == "exited"]))
                    await asyncio.sleep(0)
                await starting
                assert seen <= {0}  # begun and not yet there is not "exited"
                assert [w.state for w in await fleet.list()] == ["running"]

        play(open_fleet, story)

    def test_no_secret_stands_on_a_command_line(self, open_fleet: OpenFleet) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec())
            await until_printed(fleet, "w1", "started")
            lines = command_lines()
            assert any(b"stand_in_worker" in line or b"/script.py" in line for line in lines)
            assert not any(b"hunter2" in line for line in lines)

        play(open_fleet, story)


class AbsentPlatformContract:
    """Where the platform may be away: give it `open_fleet`, and a `platform` that stops and starts."""

    @pytest.fixture
    def platform(self) -> Platform:
        """Return what takes the platform away and brings it back, with its workers."""
        raise NotImplementedError

    def test_a_platform_that_is_away_is_not_an_empty_fleet_and_is_found_again(
        self, open_fleet: OpenFleet, platform: Platform
    ) -> None:
        async def story(fleet: Fleet) -> None:
            async with watched(fleet) as changed:
                await fleet.start(spec())
                await until_printed(fleet, "w1", "started")
                platform.stop()
                with pytest.raises(FleetError, match="cannot reach"):
                    await until(fleet, "never-was", "running")
                with pytest.raises(FleetError, match="cannot reach"):
                    await fleet.start(spec("w2"))
                changed.clear()
                platform.start()
                await asyncio.wait_for(changed.wait(), 60)
                assert [w.worker_id for w in await until_answered(fleet)] == ["w1"]

        play(open_fleet, story)


class MissingImageContract:
    """Where workers need an image: give it `open_without_image`."""

    @pytest.fixture
    def open_without_image(self) -> OpenFleet:
        """Return what opens a fleet whose image `no-such-image:1` is nowhere."""
        raise NotImplementedError

    def test_a_missing_image_is_said_by_its_name(self, open_without_image: OpenFleet) -> None:
        """By the start itself, or by the worker that did not come to be."""

        async def story(fleet: Fleet) -> str:
            try:
                await fleet.start(spec())
            except FleetError as error:
                assert [w for w in await fleet.list() if w.state == "running"] == []
                return str(error)
            try:
                await until(fleet, "w1", "exited")
                return await fleet.last_lines("w1")
            finally:
                await fleet.forget("w1")

        assert "no-such-image:1" in play(open_without_image, story)


class FullPlatformContract:
    """Where a platform may be full: give it `open_full`, which takes one worker and no second one."""

    @pytest.fixture
    def open_full(self) -> OpenFleet:
        """Return what opens a fleet on a platform with room for one worker."""
        raise NotImplementedError

    def test_a_platform_that_is_full_says_so_and_takes_a_worker_when_one_has_left(
        self, open_full: OpenFleet
    ) -> None:
        async def story(fleet: Fleet) -> None:
            await fleet.start(spec("w1"))
            with pytest.raises(FleetFullError):
                await fleet.start(spec("w2"))
            assert [w.worker_id for w in await fleet.list()] == ["w1"]
            await fleet.kill("w1")
            await until(fleet, "w1", "exited")
            await fleet.forget("w1")
            deadline = time.monotonic() + 60  # a platform may count again only after a while
            while True:
                try:
                    return await fleet.start(spec("w2"))
                except FleetFullError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)

        play(open_full, story)


class Platform(Protocol):
    """What a test takes away and brings back."""

    def stop(self) -> None:
        """Take the platform away; its workers may end with it."""
        ...

    def start(self) -> None:
        """Bring it back."""
        ...


async def until_answered(fleet: Fleet) -> list[FleetWorker]:
    """Return the workers as soon as the fleet lists them."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await fleet.list()
        except FleetError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
