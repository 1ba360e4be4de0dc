from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from support.memory_broker import MemoryBroker
from upswell.broker import topology
from upswell.broker.heartbeat import SILENT_SECONDS, HeardParts, Pulse, beating
from upswell.cli.look.parts import judged
from upswell.messages import PartStatus, decode, encode

SCALER = PartStatus(part="scaler", name="s1", report_queue="r", state="working", since_round=0.5)


class Clock:
    """A clock that stands still unless it is told to go."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def pulse(clock: Clock) -> Pulse:
    return Pulse("monitor", "m1", "r", interval=2.0, monotonic=clock)


def test_a_part_works_after_its_first_round_and_fails_when_none_works_any_more() -> None:
    clock = Clock()
    own = pulse(clock)
    assert own.status().state == "starting"
    own.worked()
    clock.now += 4.0
    assert (own.status().state, own.status().since_round) == ("working", 4.0)
    clock.now += 4.0
    assert (own.status().state, own.status().since_round) == ("failing", 8.0)
    own.worked()
    assert own.status().state == "working"


def test_a_part_whose_first_round_never_works_is_failing() -> None:
    clock = Clock()
    own = pulse(clock)
    clock.now += 7.0
    assert own.status().state == "failing"


def test_a_part_that_waits_drains_or_has_stopped_is_not_failing() -> None:
    clock = Clock()
    own = pulse(clock)
    for state in ("waiting", "draining", "stopped"):
        own.enter(state)
        clock.now += 1000.0
        assert own.status().state == state


def test_heartbeats_go_to_the_exchange_of_parts_and_the_last_says_stopped() -> None:
    async def scenario() -> None:
        broker = MemoryBroker()
        async with beating(broker, pulse(Clock()).status):
            await asyncio.sleep(0)
        assert {message.exchange for message in broker.published} == {topology.PARTS_EXCHANGE}
        assert not any(message.persistent or message.mandatory for message in broker.published)
        states = [decode(PartStatus, message.body).state for message in broker.published]
        assert states == ["starting", "stopped"]

    asyncio.run(scenario())


def test_a_part_is_heard_until_it_has_been_silent_for_four_seconds() -> None:
    heard = HeardParts("r")
    heard.take(encode(SCALER), now=10.0)
    assert heard.newest("scaler", 10.0 + SILENT_SECONDS) == SCALER
    assert heard.newest("scaler", 10.1 + SILENT_SECONDS) is None
    assert heard.newest("monitor", 10.0) is None
    assert heard.silent_for("scaler", 17.0) == 7.0


def test_another_installation_on_the_same_broker_and_rubbish_are_let_pass() -> None:
    heard = HeardParts("r")
    for body in (encode(replace(SCALER, report_queue="other")), b"", b"[" * 100_000, b'{"part":"cook"}'):
        heard.take(body, now=10.0)
    assert heard.newest("scaler", 10.0) is None


def test_the_scaler_that_works_is_shown_before_one_that_waits_or_has_stopped() -> None:
    heard = HeardParts("r")
    heard.take(encode(replace(SCALER, name="s0", state="stopped")), now=10.0)
    heard.take(encode(SCALER), now=10.0)
    heard.take(encode(replace(SCALER, name="s2", state="waiting")), now=11.0)
    assert heard.newest("scaler", 11.0) == SCALER


def test_who_waits_beside_the_one_that_works_is_counted() -> None:
    heard = HeardParts("r")
    for name in ("s2", "s3"):
        heard.take(encode(replace(SCALER, name=name, state="waiting")), now=10.0)
    heard.take(encode(SCALER), now=10.0)
    scaler = judged(heard, 10.5)[1]
    assert (scaler.ok, scaler.standbys) == (True, 2)
    assert scaler.words == "is working; 2 more wait to take over"


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (SCALER, True, "is working"),
        (replace(SCALER, state="failing", since_round=40.2), False, "no round has worked for 40 s"),
        (replace(SCALER, state="failing", since_round=None), False, "has worked since it started"),
        (replace(SCALER, state="waiting"), False, "waits to take over, and none works"),
        (replace(SCALER, state="stopped"), False, "it has stopped: start `upswell scaler`"),
        (
            replace(SCALER, state="draining", workers_left=1, uploads_left=3),
            True,
            "drains all workers: 1 worker and 3 uploads left",
        ),
    ],
)
def test_what_a_scaler_says_of_itself_is_said_in_words(status: PartStatus, ok: bool, words: str) -> None:
    heard = HeardParts("r")
    heard.take(encode(status), now=10.0)
    monitor, scaler = judged(heard, 10.5)
    assert (scaler.part, scaler.ok) == ("scaler", ok)
    assert words in scaler.words
    assert (monitor.ok, monitor.state) == (False, None)
    assert "start `upswell monitor`, or `upswell up`" in monitor.words
