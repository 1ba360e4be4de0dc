"""Sources on the web: `https://` and `http://` URLs as the settings allow.

What comes in: a URL from a message, hostile, and a server that may be hostile too. What goes out: an
`OpenSource` (stores/protocol.py) whose bytes are the server's, whole, of one version, or an UploadError.

Below, in `clients/http/`: `url.py` reads the URL and says which servers are allowed, `addresses.py` which
addresses; `connection.py` connects, `limits.py` limits each wait, `client.py` follows redirects, `errors.py`
says which failure is worth another try.
"""

from __future__ import annotations

import re
import time
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.safe import safe
from upswell.stores.clients.http.addresses import parse_networks
from upswell.stores.clients.http.client import HttpAnswer, HttpClient
from upswell.stores.clients.http.limits import Patience
from upswell.stores.clients.http.url import Origin, Url, parse_url
from upswell.stores.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from upswell.settings import Settings

TRIES = 3
"""How often something is asked for at once, before the upload goes back to the queue."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
"""A server that asks to be left alone for longer (Retry-After) is left alone: the upload goes back."""

READ_BYTES = 256 * 1024
"""At most so much is read at once: what came when a connection breaks is lost, and read again."""

RESUME_BYTES = 1024 * 1024
"""A source that was cut is read on from where it broke, as long as this much came since it broke last."""

_ETAG = re.compile(r'\A(?:W/)?"[\x21\x23-\x7e]{0,500}"\Z')
_DATE = re.compile(r"\A[A-Za-z0-9 ,:+-]{1,60}\Z")
_RANGE = re.compile(r"\Abytes (\d{1,19})-\d{1,19}/(\d{1,19})\Z")
_OK = 200
_PARTIAL = 206
_UNCHANGED = 304


class SourceVersion(Struct, frozen=True):
    """What distinguishes one version of a source from another; each None where the server does not say."""

    etag: str | None
    last_modified: str | None
    size: int | None

    @classmethod
    def of(cls, answer: HttpAnswer, size: int | None) -> SourceVersion:
        """Return the version that an answer is of."""
        etag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
        return cls(
            etag if etag and _ETAG.match(etag) else None, date if date and _DATE.match(date) else None, size
        )

    @property
    def condition(self) -> str | None:
        """What `If-Range` holds: an ETag that stands for the very bytes, or None."""
        return self.etag if self.etag is not None and not self.etag.startswith("W/") else None

    def differs(self, other: SourceVersion) -> bool:
        """Return whether two answers are of different versions, as far as both say."""
        mine, its = (version.etag and version.etag.removeprefix("W/") for version in (self, other))
        if mine is not None and its is not None and mine != its:
            return True
        pairs = ((self.last_modified, other.last_modified), (self.size, other.size))
        return any(one is not None and two is not None and one != two for one, two in pairs)


class HttpSource:
    """One source, open: see `protocol.OpenSource`."""

    def __init__(
        self,
        client: HttpClient,
        url: Url,
        *,
        max_bytes: int,
        seconds: float,
        rng: Random,
    ) -> None:
        """Ask for the source; it may be read for `seconds`, and be up to `max_bytes` long.

        Raises:
            UploadError: it cannot be had.
        """
        self._client = client
        self._max_bytes = max_bytes
        self._give_up_at = time.monotonic() + seconds
        self._rng = rng
        self._asked_for = url
        self._url = url
        self._read = 0
        self._broke_at = -RESUME_BYTES
        self._answer = self._ask({})
        self._url = self._answer.url  # where the redirects led, from now on
        try:
            self._opened = self._checked_version(self._answer)
        except BaseException:
            self._answer.close()
            raise
        self.size = self._opened.size
        self.version = self._opened.etag or self._opened.last_modified

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`; a source that is cut is read on where it broke, if its server can."""
        try:
            count = self._answer.readinto(buffer[:READ_BYTES])
        except TemporaryUploadError as error:
            self._resume(error)
            return self.readinto(buffer)
        if count == 0 and self.size is not None and self._read < self.size:
            self._resume(
                TemporaryUploadError(
                    f"incomplete source: got {self._read} of {self.size} bytes from {self._shown}"
                )
            )
            return self.readinto(buffer)
        self._read += count
        if self._read > self._max_bytes:
            raise self._too_large(f"more than {self._max_bytes}")
        return count

    def rewind(self) -> None:
        """Ask once more, and start again at the first byte."""
        self._answer.close()
        self._url = self._asked_for  # where it led before may be a signed address that ran out
        self._answer = self._ask({})
        self._url = self._answer.url
        self._read = 0
        self._check_same(self._answer.body_size)

    def check_unchanged(self) -> None:
        """Ask whether it is still the version that was read; a server that sends none cannot be asked.

        Asked by a conditional GET, not by HEAD: a signed URL is often good for GET alone.
        """
        if self._opened.etag is not None:
            condition = {"If-None-Match": self._opened.etag}
        elif self._opened.last_modified is not None:
            condition = {"If-Modified-Since": self._opened.last_modified}
        else:
            return
        self._answer.close()
        try:
            self._answer = self._ask(condition)
        except PermanentUploadError:  # gone meanwhile, or the signature ran out: what was read was whole
            return
        if self._answer.status != _UNCHANGED:
            self._check_same(self._answer.body_size)

    @property
    def _shown(self) -> str:
        return safe(str(self._url))

    def _ask(self, headers: Mapping[str, str]) -> HttpAnswer:
        """Ask, a few times at once where it may help."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                return self._client.get(self._url, headers, self._give_up_at)
            except TemporaryUploadError as error:
                pause = max(error.retry_after, pause * self._rng.uniform(1.0, 2.0))
                if attempt == TRIES or pause > LONGEST_PAUSE_SECONDS:
                    raise
                time.sleep(pause)
        raise AssertionError  # unreachable

    def _checked_version(self, answer: HttpAnswer) -> SourceVersion:
        version = SourceVersion.of(answer, answer.body_size)
        if answer.status != _OK:
            raise TemporaryUploadError(f"unexpected status {answer.status}, not 200, from {self._shown}")
        if version.size is not None and version.size > self._max_bytes:
            raise self._too_large(str(version.size))
        return version

    def _resume(self, error: TemporaryUploadError) -> None:
        """Go on with the very same bytes, or raise the error that ended them."""
        condition = self._opened.condition
        came = self._read - self._broke_at >= RESUME_BYTES
        if not came or condition is None or self.size is None or time.monotonic() >= self._give_up_at:
            raise error
        self._broke_at = self._read
        self._answer.close()
        try:
            self._answer = self._ask({"Range": f"bytes={self._read}-", "If-Range": condition})
        except PermanentUploadError:
            if self._url == self._asked_for:
                raise
            raise error from None  # a redirect led to a signed address that ran out: the next one may be good
        found = _RANGE.match(self._answer.headers["Content-Range"] or "")
        if self._answer.status != _PARTIAL or found is None:
            self._check_same(self._answer.body_size)
            raise error  # the same version, from its start: a server that knows no ranges
        self._check_same(int(found[2]))
        if int(found[1]) != self._read:
            raise error

    def _check_same(self, size: int | None) -> None:
        now = SourceVersion.of(self._answer, size)
        if self._opened.differs(now):
            raise TemporaryUploadError(
                f"the source changed during its upload: {self._shown}: "
                f"{_told(self._opened)} at the start, {_told(now)} later"
            )

    def _too_large(self, size: str) -> PermanentUploadError:
        return PermanentUploadError(
            f"the source exceeds stores.http.max_bytes ({self._max_bytes}): {size} from {self._shown}"
        )


def http_opener(settings: Settings) -> Callable[[str], HttpSource]:
    """Return what opens a URL as the settings allow.

    Raises:
        SettingsError: an invalid origin or network.
    """
    own = settings.own("stores", "http", HttpSettings)
    client = HttpClient(
        origins=[Origin.parse(text) for text in settings.source_origins],
        networks=parse_networks(settings.source_networks),
        patience=Patience(own.connect_timeout, own.read_timeout, own.min_throughput),
        allow_downgrade=own.allow_downgrade,
    )
    return lambda uri: HttpSource(
        client,
        parse_url(uri),
        max_bytes=own.max_bytes,
        seconds=settings.upload_timeout,
        rng=Random(),  # noqa: S311 - jitter is no secret
    )


def _told(version: SourceVersion) -> str:
    return f"{version.etag or version.last_modified or 'no version'}, {version.size} bytes"
