"""The handler that only takes time, as the course's sample does: no bytes are read or stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.errors import SettingsError

if TYPE_CHECKING:
    import random

    from upswell.handlers.protocol import Stored
    from upswell.messages import UploadRequest


class SimulateHandler:
    """Takes a time drawn evenly from `seconds` ("2" or "30-60") for each request, of any type."""

    def __init__(self, seconds: str, rng: random.Random) -> None:
        """Read the range.

        Raises:
            SettingsError: it is none, or its end lies before its start.
        """
        self._rng = rng
        self._least, self._most = parse_range(seconds)

    async def __call__(self, request: UploadRequest) -> Stored | None:
        """Wait, whatever the request is."""
        del request
        await asyncio.sleep(self._rng.uniform(self._least, self._most))
        return None


def parse_range(seconds: str) -> tuple[float, float]:
    """Return the two ends of a range of seconds.

    >>> parse_range("30-60"), parse_range("1.5")
    ((30.0, 60.0), (1.5, 1.5))

    Raises:
        SettingsError: it is none, or its end lies before its start.
    """
    first, _, last = seconds.partition("-")
    try:
        least = float(first)
        most = float(last or first)
    except ValueError:
        least, most = 1.0, 0.0
    if not 0 <= least <= most:
        raise SettingsError(
            f"simulate_seconds must be a number of seconds or a range like 30-60, got {seconds!r}"
        )
    return least, most
