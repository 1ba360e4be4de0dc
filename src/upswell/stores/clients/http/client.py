"""Asking a web server for a source: allowed origins and addresses only, each redirect checked.

What comes in: a URL and headers. What goes out: an `HttpAnswer` whose body can be read, or an UploadError.

`http.client` speaks HTTP; this keeps its connections and follows redirects. Nothing is sent that identifies
who asks: no cookie, no credentials, no referrer. The body is never decoded: what is stored is what was sent.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING

from upswell import __version__
from upswell.errors import PermanentUploadError, TemporaryUploadError, UploadError
from upswell.safe import safe
from upswell.stores.clients.http.connection import CheckedConnection, tls_context
from upswell.stores.clients.http.errors import broken, status_error
from upswell.stores.clients.http.url import Origin, Url, redirected

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from upswell.stores.clients.http.addresses import Network
    from upswell.stores.clients.http.limits import Patience

MAX_REDIRECTS = 10
MAX_IDLE = 64
"""Idle connections kept, to all servers together; the oldest is closed."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SMALL = 4096
"""The body of a redirect is read to its end when it is not longer, so that its connection can be kept."""

_HEADERS = {"User-Agent": f"upswell/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


class HttpAnswer:
    """What a server answered: its status, its headers, and its body to be read. Closed by who got it."""

    def __init__(
        self, url: Url, response: HTTPResponse, connection: CheckedConnection, idle: IdleConnections
    ) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._connection = connection
        self._idle = idle
        self._closed = False

    @property
    def body_size(self) -> int | None:
        """The body's length in bytes; None: known at its end (chunked).

        Raises:
            TemporaryUploadError: the headers do not say where it ends, or in two ways: one that is cut short
                could not be distinguished from a whole one.
        """
        encoding = self.headers.get("Transfer-Encoding", "").strip().lower()
        lengths = set(self.headers.get_all("Content-Length") or [])
        if encoding == "chunked":
            return None
        if encoding or len(lengths) != 1 or self._response.length is None:
            shown = encoding or ", ".join(sorted(lengths))[:80] or "neither"
            raise TemporaryUploadError(
                "the response must have one Content-Length or Transfer-Encoding: chunked, "
                f"got {shown!a} from {safe(str(self.url))}"
            )
        return self._response.length

    def readinto(self, buffer: memoryview) -> int:
        """Read body into `buffer`; return the number of bytes, 0 at the end.

        Raises:
            UploadError: it takes too long, or the connection broke.
        """
        try:
            return self._response.readinto(buffer)
        except (OSError, HTTPException) as error:
            raise broken(error, self.url) from error

    def close(self, *, read: int = 0) -> None:
        """Keep the connection when the answer was read to its end, else close it; read `read` bytes first.

        Only once, however often called: a connection that was kept twice would be used by two uploads.
        """
        if self._closed:
            return
        self._closed = True
        response = self._response
        if 0 < (response.length or 0) <= read:
            with suppress(UploadError):
                self.readinto(memoryview(bytearray(read)))
        whole = response.isclosed() or (response.length == 0 and not response.chunked)
        response.close()
        if whole and not response.will_close:
            self._idle.keep(self._connection)
        else:
            self._connection.close()


class IdleConnections:
    """Connections that wait for the next request; the one used last is taken first."""

    def __init__(self) -> None:
        self._connections: deque[CheckedConnection] = deque()
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._connections)

    def take(self, url: Url) -> CheckedConnection | None:
        """Return an idle connection to a URL's server, or None."""
        server = (url.scheme, url.authority)
        while True:
            with self._lock:
                found = next((kept for kept in reversed(self._connections) if kept.server == server), None)
                if found is None:
                    return None
                self._connections.remove(found)
            if found.is_idle():
                return found
            found.close()

    def keep(self, connection: CheckedConnection) -> None:
        """Keep a connection, and close the oldest when there are too many."""
        with self._lock:
            self._connections.append(connection)
            oldest = self._connections.popleft() if len(self._connections) > MAX_IDLE else None
        if oldest is not None:
            oldest.close()


def _close(connections: deque[CheckedConnection]) -> None:
    while connections:
        connections.pop().close()


class HttpClient:
    """Asks as the settings allow; one for all uploads of a worker, used by many threads."""

    def __init__(
        self,
        *,
        origins: Sequence[Origin],
        networks: Sequence[Network],
        patience: Patience,
        allow_downgrade: bool,
    ) -> None:
        self._origins = origins
        self._networks = networks
        self._patience = patience
        self._allow_downgrade = allow_downgrade
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle = IdleConnections()

    def get(self, url: Url, headers: Mapping[str, str], give_up_at: float) -> HttpAnswer:
        """Return the answer to a GET, redirects followed; its status is 200, 206 or 304.

        `give_up_at` is the monotonic time at which reading it ends.

        Raises:
            PermanentUploadError: an origin, an address or a redirect that is not allowed, or a status that no
                second try would change.
            TemporaryUploadError: anything else.
        """
        asked = [url]
        while True:
            answer = self._ask(asked[-1], headers, give_up_at)
            if answer.status in {200, 206, 304}:
                return answer
            location = answer.headers["Location"]
            answer.close(read=_SMALL)
            if answer.status not in _REDIRECTS or location is None:
                raise status_error(answer.status, answer.headers["Retry-After"], answer.url, time.time())
            asked.append(self._redirected(asked, location))

    def _redirected(self, asked: Sequence[Url], location: str) -> Url:
        url = redirected(asked[-1], location)
        shown = safe(str(asked[0]))
        if url in asked or len(asked) > MAX_REDIRECTS:
            what = f"a loop, back to {safe(str(url))}" if url in asked else f"more than {MAX_REDIRECTS}"
            raise PermanentUploadError(f"too many redirects from {shown}: {what}")
        if asked[-1].scheme == "https" and url.scheme == "http" and not self._allow_downgrade:
            raise PermanentUploadError(
                "a redirect must not lead from https to http unless stores.http.allow_downgrade is set, "
                f"got {safe(str(url))} from {shown}"
            )
        return url

    def _ask(self, url: Url, headers: Mapping[str, str], give_up_at: float) -> HttpAnswer:
        if not any(origin.holds(url.scheme, url.host, url.port) for origin in self._origins):
            allowed = ", ".join(str(origin) for origin in self._origins) or "empty: no http source is read"
            raise PermanentUploadError(f"the source is not from source_origins ({allowed}): {safe(str(url))}")
        request = {"Host": url.authority, **_HEADERS, **headers}
        while (kept := self._idle.take(url)) is not None:
            # The server may close a connection just when it is used again, so another is tried.
            with suppress(OSError, HTTPException):
                return HttpAnswer(url, kept.ask(url.target, request, give_up_at), kept, self._idle)
        try:
            tls = self._context() if url.scheme == "https" else None
            new = CheckedConnection(url, self._networks, self._patience, tls)
            return HttpAnswer(url, new.ask(url.target, request, give_up_at), new, self._idle)
        except (OSError, HTTPException) as error:
            raise broken(error, url) from error

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = tls_context()
            return self._tls
