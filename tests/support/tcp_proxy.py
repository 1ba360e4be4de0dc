"""A TCP proxy on loopback that can cut all its connections, hold them still, let them go on, and flip bits.

It runs in a thread with an event loop of its own, so that the code under test may block or run a loop itself.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

from support.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LEAST_CORRUPTED = 4096


class TcpProxy:
    """Forwards its own `port` to a port on loopback or a Unix socket; usable as a context manager."""

    def __init__(self, target: int | str, host: str = "127.0.0.1") -> None:
        self._host = host
        self._target = target
        self.port = 0
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._asked: dict[asyncio.StreamWriter, bytes] = {}  # what each client sent last
        self._flowing = asyncio.Event()
        self._refusing = False
        self._to_corrupt = 0
        self.corrupted = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections that there are; new ones are accepted."""
        self._do(self._abort_all)

    def cut_those_asking(self, what: bytes) -> int:
        """Reset the connections whose client last sent `what`, and no others; return how many."""
        found: list[asyncio.StreamWriter] = []

        def cut() -> None:
            found.extend(writer for writer, asked in self._asked.items() if what in asked)
            for writer in found:
                del self._asked[writer]
                writer.transport.abort()

        self._do(cut)
        return len(found)

    def refuse(self) -> None:
        """Reset all connections, and each new one at once, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """End `refuse`."""
        self._refusing = False

    def shut(self) -> None:
        """Be as a server that is stopped: nobody listens on the port any more."""
        self._call(self._close())
        self.cut()

    def reopen(self) -> None:
        """End `shut`, on the same port."""
        self._call(self._start())

    def stall(self) -> None:
        """Forward no more bytes in either direction; connections stay open."""
        self._do(self._flowing.clear)

    def resume(self) -> None:
        """End `stall`: what was held back is forwarded."""
        self._do(self._flowing.set)

    def corrupt(self, pieces: int = 1) -> None:
        """Flip one bit in the middle of each of the next large pieces that are forwarded, either way.

        Only of large ones, so that it is content that suffers.
        """
        self._to_corrupt = pieces

    def _call(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def _do(self, function: Callable[[], None]) -> None:
        async def do() -> None:
            function()

        self._call(do())

    async def _start(self) -> None:
        self._flowing.set()
        # Not one that Linux gives to connections: while nobody listens, a client's own could have it.
        port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, self._host, port)
        self.port = port

    async def _close(self) -> None:
        assert self._server is not None
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        await _turns()  # asyncio leaves open what was accepted and has not reached `_serve` when it closes
        self._server.close()

    async def _stop(self) -> None:
        await self._close()
        self._flowing.set()
        self._abort_all()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await _turns()  # aborted connections are closed in the next one

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)  # what cuts connections must find it from now on
        try:
            far_reader, far_writer = await self._connected()
        except BaseException as error:  # also where we are stopped meanwhile: it must not stay open
            self._writers.discard(writer)
            writer.transport.abort()
            if isinstance(error, OSError):
                return
            raise
        if writer.transport.is_closing():  # it was cut meanwhile
            self._writers.discard(writer)
            far_writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, far_writer, writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= ends
            self._asked.pop(writer, None)
            for end in ends:
                end.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        while data := await source.read(65536):
            if client is not None:
                self._asked[client] = data
            await self._flowing.wait()
            target.write(self._passed(data))
            await target.drain()
        target.write_eof()

    def _passed(self, data: bytes) -> bytes:
        if not self._to_corrupt or len(data) < LEAST_CORRUPTED:
            return data
        self._to_corrupt -= 1
        self.corrupted += 1
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


async def _turns() -> None:
    """Let the loop turn often enough for whatever it has begun with a connection to be done."""
    for _ in range(10):
        await asyncio.sleep(0)
