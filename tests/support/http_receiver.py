"""A web server that keeps what is posted to it, and answers as a test says."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Receiver:
    """A server that keeps what is posted; `answer` gives each request's status, or keeps it waiting."""

    def __init__(self, answer: Callable[[int, BaseHTTPRequestHandler], int]) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.accepted: list[bytes] = []
        self.arrived = threading.Condition()
        self.release = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.arrived:
                    receiver.bodies.append(body)
                    receiver.headers.append(dict(self.headers))
                    number = len(receiver.bodies)
                    receiver.arrived.notify_all()
                status = answer(number, self)
                if 200 <= status < 300:
                    with receiver.arrived:
                        receiver.accepted.append(body)
                        receiver.arrived.notify_all()
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/very-secret?token=t0p"

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        with self.arrived:
            assert self.arrived.wait_for(condition, 60), (self.bodies, self.accepted)


@contextmanager
def receiver(answer: Callable[[int, BaseHTTPRequestHandler], int]) -> Iterator[Receiver]:
    made = Receiver(answer)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.release.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()
