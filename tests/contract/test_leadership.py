"""Leadership on both brokers: one of all candidates leads, however the leader of before ended or hangs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.candidate import CandidateProcess, terms
from support.inbox import Inbox
from support.tcp_proxy import TcpProxy
from upswell.broker.leadership import TERM_SECONDS
from upswell.broker.machine_clock import seconds_since_start
from upswell.broker.protocol import Message
from upswell.broker.topology import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from support.broker_place import Place
    from upswell.broker.leadership import Leadership


@pytest.fixture
def role() -> str:
    return f"role-{uuid4().hex[:8]}"


@asynccontextmanager
async def candidate(place: Place, role: str) -> AsyncIterator[Leadership]:
    async with place.broker() as broker:
        leadership = await broker.lead(role)
        yield leadership
        await leadership.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.01)


async def soon(happening: object) -> None:
    async with asyncio.timeout(60):
        await happening  # type: ignore[misc]


def test_of_several_candidates_one_leads_and_when_it_resigns_another(place: Place, role: str) -> None:
    async def scenario() -> None:
        async with candidate(place, role) as first:
            await soon(first.gained())
            async with candidate(place, role) as second, candidate(place, role) as third:
                candidates = {first, second, third}
                for _ in range(15):
                    assert len([one for one in candidates if one.leads()]) <= 1
                    await asyncio.sleep(0.1)
                # On a machine that stood still for a term it need not be the first any more.
                await soon(until(lambda: any(one.leads() for one in candidates)))
                leader = next(one for one in candidates if one.leads())
                await leader.close()
                assert not leader.leads()
                others = [asyncio.create_task(one.gained()) for one in candidates - {leader}]
                await soon(asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED))
                assert len([one for one in candidates if one.leads()]) == 1
                for other in others:
                    other.cancel()

    asyncio.run(scenario())


def test_roles_are_independent(place: Place, role: str) -> None:
    async def scenario() -> None:
        async with candidate(place, role) as first, candidate(place, f"{role}-2") as second:
            await soon(first.gained())
            await soon(second.gained())

    asyncio.run(scenario())


@pytest.fixture
def pair(place: Place, role: str) -> Iterator[tuple[CandidateProcess, CandidateProcess]]:
    """Two processes, of which the first leads."""
    with ExitStack() as stack:
        leader = stack.enter_context(CandidateProcess(place.kind, place.where, role))
        leader.until(lambda: leader.leads)
        other = stack.enter_context(CandidateProcess(place.kind, place.where, role))
        other.until(lambda: len(other.seen) > 10)
        assert not any(leads for _, leads in other.seen)
        yield leader, other


def test_when_the_leader_is_killed_another_takes_over(
    pair: tuple[CandidateProcess, CandidateProcess],
) -> None:
    leader, other = pair
    leader.kill()
    other.until(lambda: bool(terms(other)))
    assert terms(other)[0][0] > terms(leader)[-1][1]


def test_a_leader_that_is_stopped_knows_when_it_wakes_that_another_leads(
    pair: tuple[CandidateProcess, CandidateProcess],
) -> None:
    leader, other = pair
    leader.stop()
    other.until(lambda: bool(terms(other)))
    said = len(leader.seen)
    leader.wake()
    leader.until(lambda: len(leader.seen) > said + 50)
    # The line that it was about to print when it was stopped may still say that it led, not the next.
    assert not any(leads for _, leads in leader.seen[said + 1 :])
    for mine in terms(leader):
        for theirs in terms(other):
            assert mine[1] < theirs[0], "two led at once"


def test_when_the_leader_is_stopped_two_that_wait_never_lead_at_once(place: Place, role: str) -> None:
    with ExitStack() as stack:
        leader = stack.enter_context(CandidateProcess(place.kind, place.where, role))
        leader.until(lambda: leader.leads)
        others = [stack.enter_context(CandidateProcess(place.kind, place.where, role)) for _ in range(2)]
        for other in others:
            other.until(lambda other=other: len(other.seen) > 10)
        leader.stop()
        others[0].until(lambda: any(terms(other) for other in others))
        said = [len(other.seen) for other in others]
        for other, count in zip(others, said, strict=True):
            other.until(lambda other=other, count=count: len(other.seen) > count + 200)
        for mine in terms(others[0]):
            for theirs in terms(others[1]):
                assert mine[1] < theirs[0] or theirs[1] < mine[0], "two led at once"


@pytest.mark.rabbitmq
def test_a_leader_that_is_cut_off_steps_down_and_another_takes_over(rabbitmq: str, role: str) -> None:
    """Its connection stays open on both sides: only nothing passes any more."""
    port = int(rabbitmq.rpartition(":")[2].partition("/")[0])
    with TcpProxy(port) as proxy, ExitStack() as stack:
        url = rabbitmq.replace(f":{port}", f":{proxy.port}")
        leader = stack.enter_context(CandidateProcess("rabbitmq", url, role))
        leader.until(lambda: leader.leads)
        other = stack.enter_context(CandidateProcess("rabbitmq", rabbitmq, role))
        other.until(lambda: len(other.seen) > 10)
        proxy.stall()
        stalled_at = seconds_since_start()
        other.until(lambda: bool(terms(other)))
        leader.until(lambda: not leader.leads)
        assert terms(leader)[-1][1] < stalled_at + TERM_SECONDS + 1.0
        assert terms(leader)[-1][1] < terms(other)[0][0], "two led at once"


def test_a_consumer_that_hangs_takes_nothing_from_one_of_higher_priority(place: Place, role: str) -> None:
    async def scenario(hanging: CandidateProcess) -> None:
        hanging.until(lambda: len(hanging.seen) > 0)
        hanging.stop()
        async with place.broker() as broker:
            inbox = Inbox(acking=broker)
            await broker.consume(queue, inbox, prefetch_count=100, priority=1)
            await asyncio.gather(
                *[broker.publish(Message(routing_key=queue, body=b"%d" % number)) for number in range(20)]
            )
            await inbox.wait(20)

    async def make() -> None:
        async with place.broker() as broker:
            await broker.declare(Queue(name=queue))

    queue = place.name()
    asyncio.run(make())
    with CandidateProcess(place.kind, place.where, role, queue) as hanging:
        asyncio.run(scenario(hanging))
