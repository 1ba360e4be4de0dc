"""A worker's bandwidth, shared by all its uploads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHUNK_BYTES = 1024 * 1024
MIN_CHUNK_BYTES = 4096
_CHUNKS_PER_SECOND = 20
"""A slow worker moves small chunks, so that its rate is even and an upload stops quickly."""


class RateLimit:
    """At most this many bytes per second, over all threads together; 0: no limit."""

    def __init__(self, bytes_per_second: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._free_at = 0.0
        self._moved = 0
        self._lock = threading.Lock()

    @property
    def moved(self) -> int:
        """How many bytes were reserved since the start."""
        return self._moved

    def set_rate(self, bytes_per_second: float) -> None:
        """Change the rate; what is reserved already keeps its time."""
        self._rate = bytes_per_second

    @property
    def chunk_bytes(self) -> int:
        """How many bytes to move at once."""
        if not self._rate:
            return MAX_CHUNK_BYTES
        return max(MIN_CHUNK_BYTES, min(MAX_CHUNK_BYTES, int(self._rate / _CHUNKS_PER_SECOND)))

    def reserve(self, count: int) -> float:
        """Return how many seconds to wait before `count` bytes may move.

        Whoever asks first goes first. An upload asks for one chunk at a time, all for equal ones, so each
        gets an equal share of the rate.
        """
        with self._lock:
            self._moved += count
            if not self._rate:
                return 0.0
            now = self._monotonic()
            self._free_at = max(now, self._free_at) + count / self._rate
            return self._free_at - now
