"""How full a queue was over the last window: samples come in, the newest and the change go out.

Zero, missing and stale are three values: a depth that could not be asked for is no sample, and one older
than the window is stale.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

_SAMPLES_A_WINDOW = 60


class DepthSample(Struct, frozen=True, gc=False):
    """One answer of the broker, and what was in flight and had arrived by then.

    `unheard`: at most this many more are in flight, at consumers of which no status was received.
    """

    at: float
    ready: int
    in_flight: int
    unheard: int
    consumers: int
    arrived: int


class DepthHistory:
    """The samples of the last window, at most 60 of them and the newest."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._samples: deque[DepthSample] = deque()
        self._empty_at: float | None = None

    def add(self, depth: DepthSample) -> None:
        """Take in an answer of the broker."""
        samples = self._samples
        if len(samples) > 1 and depth.at - samples[-2].at < self._window / _SAMPLES_A_WINDOW:
            samples.pop()
        samples.append(depth)
        if depth.ready == 0:
            self._empty_at = depth.at

    def newest(self, now: float) -> DepthSample | None:
        """Return the newest depth unless it is stale."""
        newest = self._samples[-1] if self._samples else None
        return newest if newest is not None and now - newest.at <= self._window else None

    def age(self, now: float) -> float | None:
        """Return the seconds since the broker last answered; None where it never did."""
        return max(0.0, now - self._samples[-1].at) if self._samples else None

    @property
    def known(self) -> bool:
        """Whether the broker ever answered."""
        return bool(self._samples)

    def arrival_rate(self, now: float, watched: float) -> float | None:
        """Return the arrivals a second of the last window, of which `watched` seconds were observed."""
        samples = self._samples
        while len(samples) > 1 and samples[1].at <= now - self._window:
            samples.popleft()
        if watched <= 0 or not samples:
            return None
        oldest, newest = samples[0], samples[-1]
        if now - newest.at > self._window:
            return None
        # After an outage the oldest is from before it, and so are the arrivals older than the window.
        return (newest.arrived - oldest.arrived) / max(watched, newest.at - oldest.at)

    def seconds_since_empty(self, now: float) -> float | None:
        """Return how long ago nothing waited; None where the queue was never seen empty."""
        return None if self._empty_at is None else max(0.0, now - self._empty_at)
