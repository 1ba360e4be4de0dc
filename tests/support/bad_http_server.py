"""A web server on loopback that answers rightly or misbehaves, path by path, as a test tells it.

Each answer is a function of an `Exchange`: what was asked for, and the socket to answer on. It runs in
threads, speaks bare sockets (a library would not let us lie), and keeps count of what was asked.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Behaviour = Callable[["Exchange"], None]

PIECE = 16 * 1024


class Exchange:
    """One request, and how to answer it."""

    def __init__(self, connection: socket.socket, head: bytes, stopped: threading.Event) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.connection = connection
        self.method, self.target, _ = lines[0].split(" ")
        self.path = self.target.partition("?")[0]
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.stopped = stopped
        self.number = 0
        """How often this path was asked for before."""
        self.keep = True

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def head(self, status: str = "200 OK", **headers: object) -> None:
        """Send a status line and headers; an underscore in a name stands for a hyphen."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]))

    def close(self) -> None:
        """End the connection after this answer, in good order."""
        self.keep = False

    def reset(self) -> None:
        """End the connection at once, by a reset."""
        self.keep = False
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait(self, seconds: float) -> None:
        """Stay silent, unless the server stops meanwhile."""
        self.stopped.wait(seconds)


class BadHttpServer:
    """Answers each path by its behaviour in `paths`; usable as a context manager."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.paths: dict[str, Behaviour] = {}
        self.asked: list[Exchange] = []
        self.connections = 0
        self._tls = tls
        self._counts: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            with connection:
                while self._answer(connection):
                    pass
        self._open.discard(connection)

    def _answer(self, connection: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return False
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        exchange = Exchange(connection, head, self._stopped)
        left = int(exchange.headers.get("content-length", "0")) - len(body)
        while left > 0 and (received := connection.recv(65536)):  # of a PUT; nobody wants it
            left -= len(received)
        with self._lock:
            exchange.number = self._counts[exchange.path]
            self._counts[exchange.path] += 1
            self.asked.append(exchange)
        self.paths.get(exchange.path, status("404 Not Found"))(exchange)
        return exchange.keep and not self._stopped.is_set()


def whole(body: bytes, etag: str | None = '"1"', **headers: object) -> Behaviour:
    """Answer rightly: conditions and ranges too, as a good server does."""

    def answer(exchange: Exchange) -> None:
        tag = {} if etag is None else {"ETag": etag}
        if etag is not None and exchange.headers.get("if-none-match") == etag:
            exchange.head("304 Not Modified", **tag)
            return
        asked = exchange.headers.get("range")
        if asked and exchange.headers.get("if-range") == etag:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            told = f"bytes {start}-{len(body) - 1}/{len(body)}"
            exchange.head(
                "206 Partial Content", Content_Length=len(body) - start, Content_Range=told, **tag, **headers
            )
            exchange.send(body[start:])
            return
        exchange.head(Content_Length=len(body), **tag, **headers)
        exchange.send(body)

    return answer


def chunked(body: bytes, *, piece: int = PIECE, end: bytes = b"0\r\n\r\n") -> Behaviour:
    """Send the body in chunks; another `end` cuts it short or goes on for ever."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked")
        for start in range(0, len(body), piece):
            part = body[start : start + piece]
            exchange.send(b"%x\r\n%s\r\n" % (len(part), part))
        exchange.send(end)
        if not end.endswith(b"\r\n\r\n"):
            exchange.close()

    return answer


def broken(
    body: bytes, at: int, how: Behaviour, etag: str | None = '"1"', times: int = 1_000_000
) -> Behaviour:
    """Promise the whole body, send `at` bytes, then do `how`; rightly after so many `times`."""
    good = whole(body, etag)

    def answer(exchange: Exchange) -> None:
        if exchange.number >= times:
            good(exchange)
            return
        tag = {} if etag is None else {"ETag": etag}
        exchange.head(Content_Length=len(body), **tag)
        exchange.send(body[:at])
        time.sleep(0.02)  # a reset that follows at once would take what was sent with it
        how(exchange)

    return answer


def cut(exchange: Exchange) -> None:
    """End the connection in good order."""
    exchange.close()


def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    exchange.reset()


def stall(exchange: Exchange) -> None:
    """Say nothing more, and keep the connection open."""
    exchange.wait(60)
    exchange.close()


def trickle(exchange: Exchange) -> None:
    """Send one byte after the other, slowly, for ever."""
    exchange.close()
    while not exchange.stopped.is_set():
        exchange.send(b"x")
        exchange.wait(0.02)


def status(line: str, **headers: object) -> Behaviour:
    """Answer with a status and no body."""
    return lambda exchange: exchange.head(line, Content_Length=0, **headers)


def redirect(location: str, code: str = "302 Found") -> Behaviour:
    """Send elsewhere."""
    return status(code, Location=location)


def raw(data: bytes) -> Behaviour:
    """Send bytes that need not be HTTP, and hang up."""

    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.send(data)

    return answer


def endless(head: bytes, piece: bytes) -> Behaviour:
    """Send a beginning, and then the same for ever."""

    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.send(head)
        while not exchange.stopped.is_set():
            exchange.send(piece)

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer the first request by the first, the second by the second; the last one stays."""
    return lambda exchange: behaviours[min(exchange.number, len(behaviours) - 1)](exchange)
