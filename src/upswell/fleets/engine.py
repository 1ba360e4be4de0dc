"""The Docker engine's API: the only module that imports its client, aiodocker.

In: questions as functions of the client. Out: answers, events, and errors of our own tree. It does not know
workers. Where the engine is, is said by the Docker client's own means: `DOCKER_HOST` (`unix://`, `tcp://`
with `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, `ssh://`), a context, or the usual socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from aiodocker import Docker
from aiodocker.events import DockerEvents
from aiodocker.exceptions import DockerError

from upswell.errors import FleetError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence

CONNECTIONS = 8
"""Concurrent requests to the engine: starting a container takes 0.1 s to 0.3 s, most of which overlaps."""

ANSWER_SECONDS = 120.0
"""An engine that takes longer to answer is away: a start may be slow on a loaded machine."""

_EVENTS_BEFORE_SECONDS = 10.0
"""Events are asked for from so long ago on, so none is missed while the stream opens."""

NOT_THERE, CONFLICT = 404, 409
"""Statuses of a refusal; of a signal the second means that its container does not run."""

_UNREACHABLE = 900
"""The client's status where no engine answers."""

T = TypeVar("T")


class EngineRefusalError(FleetError):
    """The engine's answer is an error; `status` as in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Docker engine refused: {safe(message)}")
        self.status = status
        self.reason = safe(message)


class Engine:
    """A connection to one engine, made at first use."""

    def __init__(self) -> None:
        self._client: Docker | None = None
        self._connections = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Return the engine's answer to a function of the client, whose types are partly unknown.

        Raises:
            EngineRefusalError: it refused.
            FleetError: it cannot be reached.
        """
        async with self._connections:
            with _translated():
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await question(self._connected())

    @contextlib.asynccontextmanager
    async def events(
        self, filters: Mapping[str, Sequence[str]]
    ) -> AsyncGenerator[Callable[[], Awaitable[dict[str, Any] | None]]]:
        """Yield a function that waits for the next event; None: the stream has ended."""
        with _translated():
            stream: Any = DockerEvents(self._connected())
        received = stream.channel.subscribe()
        since = f"{time.time() - _EVENTS_BEFORE_SECONDS:.3f}"
        task = asyncio.create_task(stream.run(filters=json.dumps(dict(filters)), since=since))
        try:
            yield received.get
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def start_container(self, name: str, fed: bytes | None = None) -> None:
        """Start a container; `fed` is written to its input, which ends then."""

        async def start(docker: Any) -> None:
            container = docker.containers.container(name)
            if fed is None:
                await container.start()
                return
            async with container.attach(stdin=True) as stream:
                await container.start()
                await stream.write_in(fed)

        await self.ask(start)

    def address_elsewhere(self) -> str:
        """Return the engine's address where it is on another machine; empty for a local socket."""
        with _translated():
            client = self._connected()
        # An SSH connector is a UnixConnector too: its socket leads elsewhere.
        return "" if type(client.connector) is aiohttp.UnixConnector else safe(client.docker_host)

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> Docker:
        if self._client is None:
            self._client = Docker()
        return self._client


@contextlib.contextmanager
def none_if(*statuses: int) -> Generator[None]:
    """Pass over a refusal of these statuses: what was asked for is so already."""
    try:
        yield
    except EngineRefusalError as error:
        if error.status not in statuses:
            raise


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except DockerError as error:
        if error.status != _UNREACHABLE:
            raise EngineRefusalError(error.status, error.message) from error
        raise _unreachable(error.message) from error
    except TimeoutError as error:
        raise _unreachable(f"no answer within {ANSWER_SECONDS:g} s") from error
    # AssertionError, ValueError: the client found no address of an engine, or a strange one.
    except (aiohttp.ClientError, OSError, ValueError, AssertionError) as error:
        raise _unreachable(str(error) or "no DOCKER_HOST, no context and no socket") from error


def _unreachable(why: str) -> FleetError:
    return FleetError(
        "cannot reach the Docker engine (is it running? are you in the docker group? "
        f"UPSWELL_FLEET=process does without it): {safe(why)}"
    )
