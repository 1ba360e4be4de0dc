"""Posts notices to a web server that people chose: in order, retried, never in the monitor's way.

What comes in: notices. What goes out: one POST each, with a JSON body, from a thread of its own; a server
that hangs, fails or is away costs the loop nothing. At most `MOST_WAITING` wait, then the oldest is dropped.
It does not know what a notice is about.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections import deque
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from upswell import __version__
from upswell.events import get_logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

_log = get_logger()

MOST_WAITING = 100
ATTEMPTS = 6
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled each time: half a minute in all."""
TIMEOUT = 10.0
"""Seconds that one attempt may take, however slowly the server answers."""
CLOSE_SECONDS = 2.0

_TRY_AGAIN = (408, 425, 429)
_FIRST_ERROR = 500


class NoticeRefusedError(Exception):
    """The server answered with an error; `final` where trying again would not help."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answered {status}")
        self.final = status < _FIRST_ERROR and status not in _TRY_AGAIN


class Webhook:
    """Posts to one URL.

    Args:
        url: `http://` or `https://`; it may hold a secret, so only its host is ever logged.
        headers: as `Name: value`, never logged.
        timeout: seconds for one attempt.
        first_pause: seconds before the second attempt.
    """

    def __init__(
        self,
        url: str,
        headers: Sequence[str] = (),
        *,
        timeout: float = TIMEOUT,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pairs = (header.partition(":") for header in headers)
        self._headers = {
            "User-Agent": f"upswell/{__version__}",
            **{name.strip(): value.strip() for name, _, value in pairs},
            "Content-Type": "application/json",
        }
        self._timeout = timeout
        self._first_pause = first_pause
        self._waiting: deque[bytes] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def send(self, body: bytes) -> None:
        """Have a notice posted soon; returns at once."""
        with self._news:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                _log.warning("webhook.dropped", host=self._host, waiting=MOST_WAITING)
            self._waiting.append(body)
            self._news.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Post what waits if that works at once, and stop."""
        self._closing.set()
        with self._news:
            self._news.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting:
                    if self._closing.is_set():
                        return
                    self._news.wait()
                body = self._waiting.popleft()
            if not self._deliver(body) and self._closing.is_set():
                return

    def _deliver(self, body: bytes) -> bool:
        """Post one notice until the server has it, or it is given up; return which."""
        notice_id, pause = str(uuid.uuid4()), self._first_pause
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._post(body, notice_id)
            except (OSError, HTTPException, NoticeRefusedError) as error:
                final = isinstance(error, NoticeRefusedError) and error.final
                if final or attempt == ATTEMPTS or self._closing.wait(pause):
                    _log.error("webhook.failed", host=self._host, attempts=attempt, error=error)
                    return False
                pause *= 2
            else:
                return True
        return False

    def _post(self, body: bytes, notice_id: str) -> None:
        connect = HTTPSConnection if self._secure else HTTPConnection
        connection = connect(self._host, self._port, timeout=self._timeout)
        # The connection's own limit is for each byte: a server that sends one now and then would never end.
        deadline = threading.Timer(self._timeout, _abort, [connection])
        deadline.daemon = True
        deadline.start()
        try:
            connection.request("POST", self._path, body, {**self._headers, "X-Upswell-Notice": notice_id})
            status = connection.getresponse().status
        finally:
            deadline.cancel()
            connection.close()
        if not 200 <= status < 300:  # noqa: PLR2004 - done; a redirect is not followed: it would get our secrets
            raise NoticeRefusedError(status)


def _abort(connection: HTTPConnection) -> None:
    found: socket.socket | ssl.SSLSocket | None = connection.sock
    if found is not None:
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)
