"""How long a web server is waited for. Pure: the time is passed in.

What comes in: when a wait began, how long it took, how many bytes came. What goes out: how long the next wait
may be, or a TemporaryUploadError that names the limit.
"""

from __future__ import annotations

from msgspec import Struct

from upswell.errors import TemporaryUploadError

WINDOW_SECONDS = 30.0
"""Of waiting, over which the throughput is measured."""


class Patience(Struct, frozen=True):
    """Seconds to connect, seconds of silence, and the minimum throughput in bytes per second (0: any)."""

    connect_timeout: float
    read_timeout: float
    min_throughput: float


class ReadLimits:
    """The limits of one answer.

    All headers must arrive within one `read_timeout`, so headers that trickle hold nobody up; the body must
    arrive at `min_throughput`; and no read begins after `give_up_at`, so an answer without end does end.
    Only waiting counts: a source is not slow because the store, or a rate limit, takes its bytes slowly.
    """

    def __init__(self, patience: Patience, give_up_at: float) -> None:
        self._patience = patience
        self._give_up_at = give_up_at
        self._headers_by: float | None = None
        self._waited = 0.0
        self._bytes = 0

    def expect_headers(self, now: float) -> None:
        """Allow one `read_timeout` from `now` for all headers."""
        self._headers_by = now + self._patience.read_timeout

    def expect_body(self) -> None:
        """Apply the limits of a body from now on."""
        self._headers_by = None
        self._waited, self._bytes = 0.0, 0

    def wait(self, now: float) -> float:
        """Return how long the socket may be waited for.

        Raises:
            TemporaryUploadError: no longer at all.
        """
        if now >= self._give_up_at:
            raise TemporaryUploadError("the source was not read within upload_timeout")
        left = self._patience.read_timeout if self._headers_by is None else self._headers_by - now
        if left <= 0:  # bytes that never stop coming never let a socket time out
            raise self.timed_out()
        return left

    def timed_out(self) -> TemporaryUploadError:
        """Return the error of a wait that was as long as it may be."""
        what = "more bytes" if self._headers_by is None else "its headers"
        return TemporaryUploadError(
            f"the web server did not send {what} within read_timeout ({self._patience.read_timeout:g} s)"
        )

    def received(self, waited: float, count: int) -> None:
        """Add `count` bytes that came after `waited` seconds.

        Raises:
            TemporaryUploadError: they come too slowly.
        """
        self._waited += waited
        self._bytes += count
        if self._headers_by is not None or self._waited < WINDOW_SECONDS:
            return
        rate = self._bytes / self._waited
        self._waited, self._bytes = 0.0, 0
        if rate < self._patience.min_throughput:
            raise TemporaryUploadError(
                "the web server is slower than min_throughput "
                f"({self._patience.min_throughput:g} bytes/s): {rate:.0f}"
            )
