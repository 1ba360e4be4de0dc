"""Metrics, health and readiness over HTTP, beside the loop that they tell of.

    /metrics   for Prometheus
    /healthz   200 while the loop turns, else 503: restart what runs here
    /readyz    200 while the part does its work, else 503, with its state in a word

Requests are answered by a few threads, so that a loop that stands still can be told; figures are read by the
loop, so that nothing is read while it changes. It reads nothing of a request but its first line and headers.
"""

from __future__ import annotations

import asyncio
import re
import socket
import socketserver
import threading
import time
from concurrent.futures import Future
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, TypeVar

from upswell.errors import SettingsError
from upswell.events import get_logger
from upswell.metrics.exposition import exposed
from upswell.metrics.part_metrics import readiness_figures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from upswell.metrics.figures import Figure
    from upswell.metrics.part_metrics import Readiness

    Request = socket.socket | tuple[bytes, socket.socket]

_log = get_logger()
T = TypeVar("T")

LOOPBACK = "127.0.0.1"
STUCK_SECONDS = 10.0
"""A loop that has not turned for so long is stuck."""
REQUEST_SECONDS = 10.0
"""How long a client may take over its request, or we over the figures."""
MOST_CLIENTS = 16
"""At once; a further one is hung up on."""
_TURN_SECONDS = 1.0
_ADDRESS = re.compile(r"\A(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?(?P<port>\d{1,5})\Z")


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port; a port alone is one of this machine's loopback.

    >>> parse_address("9464"), parse_address("[::]:9464")
    (('127.0.0.1', 9464), ('::', 9464))

    Raises:
        SettingsError: it is neither.
    """
    match = _ADDRESS.match(text)
    if match is None or int(match["port"]) > 65535:  # noqa: PLR2004 - the largest port
        raise SettingsError(f"metrics must be host:port or a port from 0 to 65535, got {text!r}")
    return (match["host"] or LOOPBACK).strip("[]"), int(match["port"])


class Exposed:
    """What is served: the figures of the parts of this process, and how each is."""

    def __init__(
        self, figures: Iterable[Callable[[], Iterable[Figure]]], readiness: Iterable[Callable[[], Readiness]]
    ) -> None:
        self._figures = tuple(figures)
        self._readiness = tuple(readiness)

    def figures(self) -> list[Figure]:
        """Return all figures of this moment."""
        found = [figure for give in self._figures for figure in give()]
        return [*found, *readiness_figures(self.readiness())]

    def readiness(self) -> list[Readiness]:
        """Return how each part is."""
        return [ask() for ask in self._readiness]


@asynccontextmanager
async def serving(address: str, exposed_parts: Exposed) -> AsyncGenerator[tuple[str, int]]:
    """Serve while the context lasts; yield the address, with the port that was found for port 0.

    Raises:
        SettingsError: the address is none, or taken.
    """
    host, port = parse_address(address)
    loop = _Loop(asyncio.get_running_loop())
    try:
        server = _Server(host, port, exposed_parts, loop)
    except OSError as error:
        raise SettingsError(f"metrics cannot be served on {address}: {error.strerror}") from error
    turning = asyncio.create_task(loop.turn())
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="upswell metrics", daemon=True)
    thread.start()
    shown = server.socket.getsockname()
    _log.info("metrics.serving", host=shown[0], port=shown[1])
    try:
        yield shown[0], shown[1]
    finally:
        turning.cancel()
        await asyncio.to_thread(server.shutdown)
        server.server_close()


class _Loop:
    """The event loop, as the threads see it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._turned_at = time.monotonic()

    async def turn(self) -> None:
        """Take note of each turn, until cancelled."""
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(_TURN_SECONDS)

    def stood_still(self) -> float | None:
        """Return for how many seconds the loop has stood still; None: it turns."""
        age = time.monotonic() - self._turned_at
        return age if age > STUCK_SECONDS else None

    def ask(self, question: Callable[[], T]) -> T:
        """Return what the loop answers; a TimeoutError where it does not, or is closed."""
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - who asked gets it
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(work)
            return answer.result(REQUEST_SECONDS)
        except RuntimeError as error:
            raise TimeoutError from error


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each client, and not more than `MOST_CLIENTS`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MOST_CLIENTS

    def __init__(self, host: str, port: int, parts: Exposed, loop: _Loop) -> None:
        self.parts = parts
        self.loop = loop
        self._free = threading.BoundedSemaphore(MOST_CLIENTS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def process_request(self, request: Request, client_address: object) -> None:
        """Answer in a thread of its own, if there is one left."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type] - as the base class calls it
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        """Answer, and give the thread's place free."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type] - as above
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client that hangs up, or never asks, be."""


class _Handler(BaseHTTPRequestHandler):
    """One request; the connection is closed after it."""

    timeout = REQUEST_SECONDS
    server: _Server  # type: ignore[assignment] - it is ours
    server_version = "upswell"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with what the path names."""
        path = self.path.partition("?")[0]
        answers = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._ready}
        if path not in answers:
            self._answer(404, "paths: /metrics, /healthz, /readyz\n")
            return
        try:
            answers[path]()
        except TimeoutError:
            self._answer(503, "the loop does not answer\n")

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Log nothing: a scrape comes every few seconds."""

    def _metrics(self) -> None:
        figures = self.server.loop.ask(self.server.parts.figures)
        text, content_type = exposed(figures, self.headers.get("Accept", ""))
        self._answer(200, text, content_type)

    def _health(self) -> None:
        stood_still = self.server.loop.stood_still()
        if stood_still is None:
            self._answer(200, "ok\n")
        else:
            self._answer(503, f"the loop has stood still for {stood_still:.0f} s\n")

    def _ready(self) -> None:
        found = self.server.loop.ask(self.server.parts.readiness)
        lines = "".join(f"{one.part}: {one.words}\n" for one in found)
        self._answer(200 if all(one.ready for one in found) else 503, lines)

    def _answer(
        self, status: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
