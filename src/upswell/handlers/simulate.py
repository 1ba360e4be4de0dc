"""The handler that only takes time, as the course's sample does: no bytes are read or stored."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from upswell.errors import SettingsError
from upswell.settings import Setting

if TYPE_CHECKING:
    from upswell.handlers.protocol import Stored
    from upswell.messages import UploadRequest
    from upswell.settings import Settings


class SimulateSettings(Struct, frozen=True):
    """What `[handlers.simulate]` holds."""

    seconds: Annotated[
        str,
        Meta(pattern=r"\A\d+(\.\d+)?(-\d+(\.\d+)?)?\Z"),
        Setting(
            "How long a request takes: a number of seconds, or a range like 30-60.",
            form="a number of seconds, or a range like 30-60",
        ),
    ] = "30-60"


def open_simulation(settings: Settings, *_: Any) -> SimulateHandler:
    """Return the handler that takes as long as the settings say."""
    own = settings.own("handlers", "simulate", SimulateSettings)
    return SimulateHandler(own.seconds, random.Random())  # noqa: S311 - no secret


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
            f"handlers.simulate.seconds must be a number of seconds or a range like 30-60, got {seconds!r}"
        )
    return least, most
