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
    from collections.abc import AsyncIterator, Iterator

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


async def soon(happening: object) -> None:
    async with asyncio.timeout(60):
        await happening  # type: ignore[misc]


async def the_leader(candidates: set[Leadership]) -> Leadership:
    """Return the one that leads as soon as one does: on a machine that stood still for a term, none may."""
    async with asyncio.timeout(60):
        while True:
            leading = [one for one in candidates if one.leads()]
            assert len(leading) <= 1
            if leading:
                return leading[0]
            await asyncio.sleep(0.01)


def test_of_several_candidates_one_leads_and_when_it_resigns_another(place: Place, role: str) -> None:
    async def scenario() -> None:
        async with candidate(place, role) as first:
            await soon(first.gained())
            async with candidate(place, role) as second, candidate(place, role) as third:
                candidates = {first, second, third}
                for _ in range(15):
                    assert len([one for one in candidates if one.leads()]) <= 1
                    await asyncio.sleep(0.1)
                leader = await the_leader(candidates)
                await leader.close()
                assert not leader.leads()
                others = [asyncio.create_task(one.gained()) for one in candidates - {leader}]
                await soon(asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED))
                assert await the_leader(candidates) is not leader
                for other in others:
                    other.cancel()

    asyncio.run(scenario())


def test_roles_are_independent(place: Place, role: str) -> None:
    async def scenario() -> None:
        async with candidate(place, role) as first, candidate(place, f"{role}-2") as second:
            await soon(first.gained())
            await soon(second.gained())

    asyncio.run(scenario())


def never_at_once(one: CandidateProcess, other: CandidateProcess) -> None:
    """Fail where one said that it led at an instant within a term of the other's."""
    for mine, theirs in ((one, other), (other, one)):
        for begin, end in terms(theirs):
            both = [at for at, leads in mine.seen if leads and begin <= at <= end]
            assert not both, f"two led at once: at {both[:5]} and from {begin} to {end}"


def takes_over(candidate: CandidateProcess, since: float) -> None:
    """Wait until a candidate leads for longer than an instant, after another cannot any more."""
    candidate.until(lambda: any(end > since for _, end in terms(candidate)))


@pytest.fixture
def pair(place: Place, role: str) -> Iterator[tuple[CandidateProcess, CandidateProcess]]:
    """Two processes, of which the first leads, unless it stood still for a term."""
    with ExitStack() as stack:
        leader = stack.enter_context(CandidateProcess(place.kind, place.where, role))
        leader.until(lambda: leader.leads)
        other = stack.enter_context(CandidateProcess(place.kind, place.where, role))
        other.until(lambda: len(other.seen) > 10)
        never_at_once(leader, other)
        yield leader, other


def test_when_the_leader_is_killed_another_takes_over(
    pair: tuple[CandidateProcess, CandidateProcess],
) -> None:
    leader, other = pair
    leader.kill()
    takes_over(other, seconds_since_start())
    never_at_once(leader, other)


def test_a_leader_that_is_stopped_knows_when_it_wakes_that_another_leads(
    pair: tuple[CandidateProcess, CandidateProcess],
) -> None:
    leader, other = pair
    leader.stop()
    stopped_at = seconds_since_start()

    def awake() -> list[tuple[float, bool]]:
        # Without the line that it was about to print when it was stopped, which may still say that it led.
        return [(at, leads) for at, leads in leader.seen if at > stopped_at]

    takes_over(other, stopped_at)
    leader.wake()
    leader.until(lambda: len(awake()) > 50)
    assert not awake()[0][1]
    other.until(lambda: other.seen[-1][0] > awake()[50][0])
    never_at_once(leader, other)


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
        never_at_once(*others)


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
        takes_over(other, stalled_at)
        leader.until(lambda: leader.seen[-1][0] > stalled_at + TERM_SECONDS + 1.0)
        assert max(at for at, leads in leader.seen if leads) < stalled_at + TERM_SECONDS + 1.0
        never_at_once(leader, other)


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
