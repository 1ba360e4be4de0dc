from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

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
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
