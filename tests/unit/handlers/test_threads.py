from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from upswell.handlers.threads import Threads


def test_no_more_threads_are_started_than_are_used_or_allowed() -> None:
    async def scenario() -> None:
        threads = Threads(3)
        for _ in range(5):
            await threads.call(lambda: None)
        assert threads._started == 1
        gate = threading.Event()
        calls = [asyncio.ensure_future(threads.call(gate.wait)) for _ in range(6)]
        await asyncio.sleep(0)
        assert threads._started == 3
        gate.set()
        assert await asyncio.gather(*calls) == [True] * 6

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyError("k")])
def test_what_a_function_raises_reaches_who_awaits_it(error: BaseException) -> None:
    async def scenario() -> None:
        def fail() -> None:
            raise error

        threads = Threads(1)
        with pytest.raises(type(error)):
            await threads.call(fail)
        assert await threads.call(lambda: 7) == 7

    asyncio.run(scenario())


def test_stop_iteration_which_a_future_cannot_hold_becomes_a_runtime_error() -> None:
    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await Threads(1).call(lambda: next(iter(())))

    asyncio.run(scenario())


def test_a_thread_that_ends_as_its_call_is_cancelled_is_not_waited_for_for_ever() -> None:
    """Its end reaches the loop between the cancellation and the call's own waking."""

    async def scenario() -> None:
        threads, gate = Threads(1), threading.Event()
        call = asyncio.ensure_future(threads.call(gate.wait))
        await asyncio.sleep(0)
        gate.set()
        while threads._awake is None:
            time.sleep(0.001)  # noqa: ASYNC251 - same
        time.sleep(0.05)  # noqa: ASYNC251 - same
        call.cancel()
        async with asyncio.timeout(60):
            assert await call is True

    asyncio.run(scenario())


def test_a_cancelled_call_is_told_to_stop_and_waits_for_the_end_of_its_thread() -> None:
    async def scenario() -> None:
        stopped = threading.Event()
        call = asyncio.ensure_future(Threads(1).call(stopped.wait, stop=stopped.set))
        await asyncio.sleep(0)
        call.cancel()
        assert await call is True

    asyncio.run(scenario())


def test_a_call_cancelled_twice_lets_its_thread_go() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        call = asyncio.ensure_future(Threads(1).call(gate.wait))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.set()

    asyncio.run(scenario())


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    script = """
import asyncio, time
from upswell.handlers.threads import Threads
async def main():
    call = asyncio.ensure_future(Threads(1).call(lambda: time.sleep(1000)))
    await asyncio.sleep(0.05)
    call.cancel()  # as a worker does that leaves; asyncio.run cancels once more
    await asyncio.sleep(0.05)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=110)


def test_calls_that_end_while_another_runs_return_one_by_one_and_all_together() -> None:
    async def scenario() -> None:
        threads = Threads(9)
        gate = threading.Event()
        held = asyncio.ensure_future(threads.call(gate.wait))
        for number in range(20):
            assert await threads.call(lambda number=number: number) == number  # type: ignore[misc]
        together = await asyncio.gather(*(threads.call(lambda n=n: n) for n in range(50)))  # type: ignore[misc]
        assert together == list(range(50))
        gate.set()
        assert await held is True

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_loop_that_is_closed_while_it_was_to_look_again_holds_up_no_other() -> None:
    threads = Threads(2)

    async def leave_early() -> None:
        gate = threading.Event()
        held = asyncio.ensure_future(threads.call(gate.wait))
        await threads.call(lambda: None)
        assert threads._awake is asyncio.get_running_loop()
        gate.set()
        await held
        threads._awake = asyncio.get_running_loop()  # as where it is closed before it looks again

    async def come() -> None:
        assert await threads.call(lambda: 2) == 2

    asyncio.run(asyncio.wait_for(leave_early(), 60))
    asyncio.run(asyncio.wait_for(come(), 60))
