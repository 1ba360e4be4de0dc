# ruff: noqa: D102 - the stage's methods do what their names say
"""`upswell keda` against a broker in memory: rounds at instants that the test chooses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from support.memory_broker import MemoryBroker
from upswell.broker import topology
from upswell.broker.orders import Orders
from upswell.broker.protocol import Message
from upswell.errors import BrokerError
from upswell.events import capture
from upswell.keda import KedaScaler
from upswell.messages import (
    OperatorOrder,
    ScaleRequest,
    WorkerCommand,
    WorkerState,
    WorkerStatus,
    decode,
    encode,
)
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    import pytest

SETTLED = 4.0
"""Seconds after which every worker has been heard."""


class Stage:
    """A scaler for KEDA, and a clock that stands still until it is told to go on."""

    def __init__(self, state_path: Path, **settings: Any) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker()
        own = {"min_workers": 0, "max_workers": 5, **settings}
        self.settings = Settings(state_dir=str(state_path), apps={"a1": own}, keda_unready_seconds=3.0)
        self.scaler = KedaScaler(
            broker=self.broker, settings=self.settings, name="test", clock=lambda: self.now
        )
        self._alive: dict[str, tuple[WorkerState, int]] = {}

    async def round(self, after: float = 1.0, *, decided: int | None = None) -> int | None:
        """Let time pass, hear the monitor and every worker again, and return what KEDA gets."""
        self.now += after
        for worker_id, (state, busy) in self._alive.items():
            self._status(worker_id, state, busy)
        if decided is not None:
            request = ScaleRequest(
                app_id="a1", desired_workers=decided, decided_at=self.now, reason="because", epoch=1
            )
            self._send(
                topology.scaling_queue("scaler", "test", self.settings.report_queue).name, encode(request)
            )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.scaler.run_once(self.now)
        answer = self.scaler.answer("a1")
        assert answer is not None
        return answer.number

    def worker(self, worker_id: str, state: WorkerState = "ready", *, busy: int = 0) -> None:
        """Have a worker, or have it as it says from now on."""
        self.broker.declared[f"upswell.control.{worker_id}"] = topology.control_queue(worker_id)
        self._alive[worker_id] = (state, busy)

    def gone(self, worker_id: str) -> None:
        del self._alive[worker_id]

    def told(self) -> list[tuple[str, str]]:
        """Return the commands since last asked: worker, command."""
        found: list[tuple[str, str]] = []
        for name, queue in self.broker.queues.items():
            if name.startswith("upswell.control."):
                while queue:
                    command = decode(WorkerCommand, queue.popleft()[0].body).command
                    found.append((name.removeprefix("upswell.control."), command))
        return sorted(found)

    def _status(self, worker_id: str, state: WorkerState, busy: int) -> None:
        status = WorkerStatus(app_id="a1", worker_id=worker_id, state=state, busy=busy, slots=4, at=self.now)
        self._send(topology.status_queue("scaler", "test").name, encode(status))

    def _send(self, queue: str, body: bytes) -> None:
        self.broker.publish(Message(body=body, routing_key=queue))


def on_stage(tmp_path: Path, scenario: Callable[[Stage], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def run() -> None:
        stage = Stage(tmp_path, **settings)
        await stage.scaler.start()
        await scenario(stage)

    asyncio.run(run())


def why(stage: Stage) -> str:
    answer = stage.scaler.answer("a1")
    assert answer is not None
    assert answer.number is None
    return answer.why


def test_the_number_is_the_monitors_exactly(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert await stage.round(SETTLED, decided=3) == 3
        assert await stage.round(decided=5) == 5
        assert await stage.round(decided=4) == 5  # five pods may be starting
        for number in range(5):
            stage.worker(f"w{number}")
        assert await stage.round(decided=5) == 5

    on_stage(tmp_path, scenario)


def test_the_number_keeps_to_the_bounds_of_the_settings(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert await stage.round(SETTLED, decided=1000) == 5
        assert await stage.round(decided=0) == 2

    on_stage(tmp_path, scenario, min_workers=2)


def test_before_the_number_falls_the_idlest_rests_and_has_been_idle_for_a_while(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for name, busy in (("a", 2), ("b", 1), ("c", 3)):
            stage.worker(name, busy=busy)
        assert await stage.round(SETTLED, decided=3) == 3
        assert stage.told() == []
        assert await stage.round(decided=2) == 3
        assert stage.told() == [("b", "standby")]
        stage.worker("b", "standby", busy=1)  # it finishes what it holds
        assert await stage.round(decided=2) == 3
        stage.worker("b", "standby", busy=0)
        assert await stage.round(decided=2) == 3  # not yet seen as not ready
        assert await stage.round(2.0, decided=2) == 3
        assert await stage.round(1.0, decided=2) == 2
        stage.gone("b")
        assert await stage.round(9.0, decided=2) == 2
        assert stage.told() == []

    on_stage(tmp_path, scenario)


def test_a_number_that_rises_again_calls_the_resting_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for name in "abc":
            stage.worker(name)
        await stage.round(SETTLED, decided=3)
        await stage.round(decided=1)
        assert stage.told() == [("a", "standby"), ("b", "standby")]
        for name in "ab":
            stage.worker(name, "standby")
        assert await stage.round(decided=1) == 3
        assert await stage.round(decided=2) == 3
        assert stage.told() == [("b", "activate")]
        stage.worker("b")
        assert await stage.round(decided=2) == 3
        assert await stage.round(3.0, decided=2) == 2

    on_stage(tmp_path, scenario)


def test_a_command_that_got_lost_is_sent_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.worker("a")
        await stage.round(SETTLED, decided=0)
        assert stage.told() == [("a", "standby")]
        await stage.round(1.0, decided=0)
        assert stage.told() == []
        await stage.round(6.0, decided=0)
        assert stage.told() == [("a", "standby")]

    on_stage(tmp_path, scenario)


def test_without_a_decision_there_is_no_number(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert await stage.round(SETTLED) is None
        assert "no monitor has decided" in why(stage)

    on_stage(tmp_path, scenario)


def test_a_decision_that_is_too_old_is_none(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert await stage.round(SETTLED, decided=3) == 3
        assert await stage.round(9.0) == 3
        with capture() as events:
            assert await stage.round(9.0) is None
        assert "must be at most 10 s old, it is 18 s old" in why(stage)
        assert [event["event"] for event in events] == ["keda.signals_lost"]
        with capture() as events:
            assert await stage.round(decided=3) == 3
        assert "keda.signals_back" in [event["event"] for event in events]

    on_stage(tmp_path, scenario)


def test_before_all_workers_can_have_been_heard_there_is_no_number(tmp_path: Path) -> None:
    """It would be told of a smaller number while busy workers are not known."""

    async def scenario(stage: Stage) -> None:
        assert await stage.round(1.0, decided=2) is None
        assert "not all been heard" in why(stage)
        assert await stage.round(3.0, decided=2) == 2

    on_stage(tmp_path, scenario)


def test_a_broker_that_does_not_answer_gives_no_number_and_ends_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.worker("a")
        assert await stage.round(SETTLED, decided=1) == 1

        async def gone(_queue: str, **_: object) -> None:
            raise BrokerError("connection lost")

        with monkeypatch.context() as broken:
            broken.setattr(stage.broker, "depth", gone)
            assert await stage.round(decided=1) is None
            assert "broker" in why(stage)
        assert await stage.round(decided=0) is None  # first all workers must be heard again
        assert stage.told() == []

    on_stage(tmp_path, scenario)


def test_a_worker_that_falls_silent_is_not_waited_for(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.worker("a")
        stage.worker("b", busy=1)
        assert await stage.round(SETTLED, decided=2) == 2
        await stage.round(decided=1)
        stage.gone("b")
        stage.gone("a")
        stage.worker("a")
        assert await stage.round(9.0, decided=1) == 2
        assert await stage.round(9.0, decided=1) == 1

    on_stage(tmp_path, scenario)


def test_a_clock_that_jumps_proves_no_worker_silent(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.worker("a", busy=1)
        await stage.round(SETTLED, decided=1)
        assert await stage.round(3600.0, decided=0) is None

    on_stage(tmp_path, scenario)


def test_an_operator_is_told_who_obeys_instead(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        orders = Orders(stage.broker, stage.settings.report_queue, "command")
        await orders.listen()
        answer = await orders.give("scaler", OperatorOrder(order="restart"))
        assert not answer.accepted
        assert "kubectl rollout restart" in answer.text

    on_stage(tmp_path, scenario)


def test_status_hears_it_as_the_scaler_with_what_is_unknown(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.round(SETTLED)
        status = stage.scaler.part_status()
        assert (status.part, status.state) == ("scaler", "working")
        assert any("KEDA" in note for note in status.notes)
        assert any(note.startswith("a1: no monitor") for note in status.notes)

    on_stage(tmp_path, scenario)


def test_reloaded_settings_hold_from_the_next_round_on(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert await stage.round(SETTLED, decided=9) == 5
        stage.scaler.reload(Settings(apps={"a1": {"max_workers": 7}, "a2": {}}))
        assert stage.scaler.apps == ["a1", "a2"]
        assert await stage.round(decided=9) == 7

    on_stage(tmp_path, scenario)
