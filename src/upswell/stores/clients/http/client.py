"""Asking a web server for a source: allowed origins only, redirects one by one, connections kept.

What comes in: a URL and headers. What goes out: an `HttpAnswer` whose body can be read, or an UploadError. It
must not know what the bytes are for.

`http.client` reads the answers. Nothing is sent that a server could tell a user by: no cookie, no
credentials, no referrer. The body is never decoded: what is stored is what was sent.
"""

from __future__ import annotations

import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, cast

from upswell import __version__
from upswell.errors import PermanentUploadError, TemporaryUploadError, UploadError
from upswell.safe import safe
from upswell.stores.clients.http.connect import connect
from upswell.stores.clients.http.errors import broken, status_error
from upswell.stores.clients.http.url import Url, redirected
from upswell.stores.clients.http.wire import Patience, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upswell.stores.clients.http.addresses import Network
    from upswell.stores.clients.http.origins import Origin

MAX_REDIRECTS = 10
MAX_IDLE = 64
"""Idle connections kept, to all servers together; the oldest is closed."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SMALL = 4096
"""The body of a redirect is read to its end when it is not longer, so that its connection can be kept."""


class HttpAnswer:
    """What a server answered: its status, its headers, and its body to be read. Closed by who got it."""

    def __init__(self, url: Url, response: HTTPResponse, wire: Wire, keep: Callable[[Wire], None]) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._wire = wire
        self._keep = keep
        self._closed = False

    @property
    def body_size(self) -> int | None:
        """The body's length in bytes; None: told at its end (chunked).

        Raises:
            TemporaryUploadError: the headers do not say where it ends, or in two ways: one that is cut short
                could not be told from a whole one.
        """
        encoding = self.headers.get("Transfer-Encoding", "").strip().lower()
        lengths = set(self.headers.get_all("Content-Length") or [])
        if encoding == "chunked":
            return None
        if encoding or len(lengths) != 1 or self._response.length is None:
            shown = encoding or ", ".join(sorted(lengths))[:80] or "neither"
            raise TemporaryUploadError(
                "an http source must say where it ends, by one Content-Length or Transfer-Encoding: chunked, "
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

    def close(self) -> None:
        """Keep the connection when the answer was read to its end, else close it; only once, however called.

        A connection that was kept twice would be used by two uploads at once.
        """
        if self._closed:
            return
        self._closed = True
        response = self._response
        whole = response.isclosed() or (response.length == 0 and not response.chunked)
        response.close()
        if whole and not response.will_close:
            self._keep(self._wire)
        else:
            self._wire.close()

    def skip(self) -> None:
        """Close; a short body is read away first."""
        if (self._response.length or _SMALL) < _SMALL:
            with suppress(UploadError):
                self.readinto(memoryview(bytearray(_SMALL)))
        self.close()


class Client:
    """Asks as the settings allow; one for all uploads of a worker, used by many threads."""

    def __init__(
        self,
        *,
        origins: Sequence[Origin],
        networks: Sequence[Network],
        patience: Patience,
        allow_downgrade: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._origins = origins
        self._networks = networks
        self._patience = patience
        self._allow_downgrade = allow_downgrade
        self._clock = clock
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[tuple[str, str, Wire]] = deque()  # scheme, host and port, the oldest first
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)

    def get(self, url: Url, headers: Mapping[str, str], give_up_at: float) -> HttpAnswer:
        """Return the answer to a GET, redirects followed; its status is 200, 206 or 304.

        `give_up_at` is the monotonic time at which reading it ends.

        Raises:
            PermanentUploadError: an origin, an address or a redirect that is not allowed, or a status that no
                second try would mend.
            TemporaryUploadError: anything else.
        """
        asked = [url]
        while True:
            answer = self._ask(asked[-1], headers, give_up_at)
            if answer.status in {200, 206, 304}:
                return answer
            answer.skip()
            location = answer.headers["Location"]
            if answer.status not in _REDIRECTS or location is None:
                raise status_error(answer.status, answer.headers["Retry-After"], answer.url, self._clock())
            asked.append(self._redirected(asked, location))

    def _redirected(self, asked: Sequence[Url], location: str) -> Url:
        url = redirected(asked[-1], location)
        shown = safe(str(asked[0]))
        if url in asked or len(asked) > MAX_REDIRECTS:
            what = f"in a loop, back to {safe(str(url))}" if url in asked else f"on and on from {shown}"
            raise PermanentUploadError(
                f"an http source must be reached within {MAX_REDIRECTS} redirects, got led {what}"
            )
        if asked[-1].scheme == "https" and url.scheme == "http" and not self._allow_downgrade:
            raise PermanentUploadError(
                "a redirect must not lead from https to http unless source_downgrade is set, "
                f"got {safe(str(url))} from {shown}"
            )
        return url

    def _ask(self, url: Url, headers: Mapping[str, str], give_up_at: float) -> HttpAnswer:
        self._check(url)
        request = _request(url, headers)
        while (kept := self._take(url)) is not None:
            # The server may close a connection just when it is used again, so another is tried.
            with suppress(OSError, HTTPException):
                return self._exchange(kept, url, request, give_up_at)
        try:
            tls = self._context() if url.scheme == "https" else None
            connected = connect(url, self._networks, self._patience.connect_timeout, tls=tls)
            return self._exchange(Wire(connected, self._patience), url, request, give_up_at)
        except (OSError, HTTPException) as error:
            raise broken(error, url) from error

    def _exchange(self, wire: Wire, url: Url, request: bytes, give_up_at: float) -> HttpAnswer:
        try:
            wire.send(request, give_up_at)
            response = HTTPResponse(cast("Any", wire), method="GET")
            response.begin()
        except BaseException:
            wire.close()
            raise
        wire.expect_body()
        return HttpAnswer(url, response, wire, lambda wire: self._keep(url, wire))

    def _check(self, url: Url) -> None:
        if not any(origin.holds(url.scheme, url.host, url.port) for origin in self._origins):
            allowed = ", ".join(str(origin) for origin in self._origins) or "empty: no http source is read"
            raise PermanentUploadError(
                f"an http source must come from one of source_origins ({allowed}), got {safe(str(url))}"
            )

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:  # 20 ms: the certificates of all authorities are read
                self._tls = ssl.create_default_context()
                self._tls.set_alpn_protocols(["http/1.1"])
            return self._tls

    def _take(self, url: Url) -> Wire | None:
        """Return an idle connection to the URL's server, the one used last, or None."""
        while True:
            with self._lock:
                found = next(
                    (kept for kept in reversed(self._idle) if kept[:2] == (url.scheme, url.authority)), None
                )
                if found is None:
                    return None
                self._idle.remove(found)
            if found[2].is_idle():
                return found[2]
            found[2].close()

    def _keep(self, url: Url, wire: Wire) -> None:
        with self._lock:
            self._idle.append((url.scheme, url.authority, wire))
            oldest = self._idle.popleft() if len(self._idle) > MAX_IDLE else None
        if oldest is not None:
            oldest[2].close()


def _close(idle: deque[tuple[str, str, Wire]]) -> None:
    while idle:
        idle.pop()[2].close()


def _request(url: Url, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"GET {url.target} HTTP/1.1",
        f"Host: {url.authority}",
        f"User-Agent: upswell/{__version__}",
        "Accept: */*",
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
