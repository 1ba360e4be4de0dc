"""A connected socket as `http.client` reads from it: no wait is longer than it may be.

What comes in: a socket, and how long its other end may be silent, slow, or there at all. What goes out: its
bytes, or a TemporaryUploadError. It must not know what they mean.
"""

from __future__ import annotations

import io
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from upswell.errors import TemporaryUploadError
from upswell.stores.clients.http.throughput import Throughput

if TYPE_CHECKING:
    import socket

BUFFER_BYTES = 64 * 1024


class Patience(Struct, frozen=True):
    """How long a server is waited for: seconds to connect and between bytes, least bytes per second."""

    connect_timeout: float
    read_timeout: float
    min_throughput: float


class Wire:
    """One connection.

    The headers of an answer must all come within one `read_timeout`, so that a header that trickles holds
    nobody up; the body must come at `min_throughput`; and nothing may go on after `give_up_at`, so that an
    answer that never ends (chunks of nothing, trailers without end) does.
    """

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._socket = connection
        self._patience = patience
        self._deadline: float | None = None
        self._throughput: Throughput | None = None
        self._give_up_at = 0.0

    def send(self, request: bytes, give_up_at: float) -> None:
        """Send a request, whose answer may be waited for until `give_up_at` (monotonic)."""
        self._give_up_at = give_up_at
        self._deadline = time.monotonic() + self._patience.read_timeout
        self._throughput = None
        self._socket.settimeout(self._patience.read_timeout)
        self._socket.sendall(request)

    def expect_body(self) -> None:
        """The headers are here: from now on bytes must come fast enough."""
        self._deadline = None
        self._throughput = Throughput(self._patience.min_throughput)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader of one answer, which may close it: the connection stays open."""
        return io.BufferedReader(_Answer(self), BUFFER_BYTES)

    def receive(self, buffer: Any) -> int:
        """Wait for bytes; return how many came, 0 at the connection's end.

        Raises:
            TemporaryUploadError: they take too long.
            OSError: the connection broke.
        """
        began = time.monotonic()
        patience = self._patience
        wait = patience.read_timeout if self._deadline is None else self._deadline - began
        if began >= self._give_up_at:
            raise TemporaryUploadError("an http source must be read within upload_timeout")
        try:
            if wait <= 0:  # asked by the clock: bytes that never stop coming never let a socket time out
                raise TimeoutError  # noqa: TRY301 - one end for both
            self._socket.settimeout(wait)
            count = self._socket.recv_into(buffer)
        except TimeoutError:
            what = "more bytes" if self._deadline is None else "its headers"
            raise TemporaryUploadError(
                f"an http source must send {what} within read_timeout ({patience.read_timeout:g} s)"
            ) from None
        if self._throughput is not None:
            rate = self._throughput.too_slow(time.monotonic() - began, count)
            if rate is not None:
                raise TemporaryUploadError(
                    "an http source must send at least min_throughput "
                    f"({patience.min_throughput:g} bytes/s), got {rate:.0f}"
                )
        return count

    def is_idle(self) -> bool:
        """Return whether nothing came since the last answer: no bytes that nobody asked for, and no end."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._socket.close()


class _Answer(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._wire.receive(buffer)
