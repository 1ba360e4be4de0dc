"""What every handler promises; see the package."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import PermanentUploadError
from upswell.handlers.protocol import Stored
from upswell.handlers.registry import load_handler
from upswell.messages import UploadRequest

if TYPE_CHECKING:
    from upswell.handlers.protocol import Handler
    from upswell.settings import Settings

SECONDS = 0.2
"""How long one upload takes at least, where a handler can be made to take its time."""


def request(settings: Settings, number: int = 0, name: str = "file") -> UploadRequest:
    """Return a request for a file below the source root."""
    return UploadRequest(
        app_id="e1",
        type="file",
        uri=f"file://{settings.source_roots[0]}/{name}",
        id=f"r{number}",
        key=f"r{number}/file",
    )


def run(coroutine: Any) -> Any:
    """Return what a coroutine returns."""
    return asyncio.run(coroutine)


class HandlerContract:
    """Derive a class from this one and give it the fixture `settings`.

    They name the handler and a `destination` folder; the file `file` is below the one `source_roots`, and the
    handler knows of no file `missing`.
    """

    @pytest.fixture
    def settings(self) -> Settings:
        """Return the settings of a worker that has the handler, with four slots."""
        raise NotImplementedError

    @pytest.fixture
    def handler(self, settings: Settings) -> Handler:
        """Return the handler as a worker loads it."""
        return load_handler(settings)

    def test_a_handler_tells_what_it_stored_or_nothing(self, handler: Handler, settings: Settings) -> None:
        stored = run(handler(request(settings)))
        if stored is None:
            return
        assert isinstance(stored, Stored)
        assert stored.key.startswith("r0/file")
        if stored.checksum is None:
            assert stored.bytes == 5
        else:
            body = Path(settings.destination, stored.key).read_bytes()
            assert (stored.bytes, stored.checksum) == (len(body), f"sha256:{sha256(body).hexdigest()}")

    def test_the_same_request_may_be_handled_twice(self, handler: Handler, settings: Settings) -> None:
        async def scenario() -> None:
            assert await handler(request(settings)) == await handler(request(settings))

        run(scenario())

    def test_uploads_run_side_by_side_and_the_loop_goes_on_meanwhile(
        self, handler: Handler, settings: Settings
    ) -> None:
        """A handler that blocks the loop stops heartbeats, and the broker takes its uploads away.

        A busy machine may delay them: it is seen once within a minute. One after the other never makes it.
        """

        async def all_four() -> tuple[float, int]:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(SECONDS / 20)
                    ticks += 1

            ticking = asyncio.ensure_future(tick())
            loop = asyncio.get_running_loop()
            started = loop.time()
            await asyncio.gather(*(handler(request(settings, number)) for number in range(4)))
            took = loop.time() - started
            ticking.cancel()
            return took, ticks

        async def scenario() -> None:
            deadline = asyncio.get_running_loop().time() + 60
            while True:
                took, ticks = await all_four()
                if took < 3 * SECONDS and (ticks >= 2 or took < SECONDS):
                    return
                assert asyncio.get_running_loop().time() < deadline, (took, ticks)

        run(scenario())

    def test_what_can_never_be_stored_is_a_permanent_error(
        self, handler: Handler, settings: Settings
    ) -> None:
        """Where something is read, that is: what reads nothing can miss nothing."""
        if settings.handler == "simulate":
            pytest.skip("reads nothing")
        with pytest.raises(PermanentUploadError):
            run(handler(request(settings, name="missing")))

    def test_a_cancelled_handler_ends(self, handler: Handler, settings: Settings) -> None:
        """Stored after all (a thread that was nearly done), or an exception: never for ever."""

        async def scenario() -> None:
            call = asyncio.ensure_future(handler(request(settings)))
            await asyncio.sleep(SECONDS / 10)
            call.cancel()
            done, _ = await asyncio.wait([call], timeout=60)
            assert done

        run(scenario())
