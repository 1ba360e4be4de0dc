"""A handler that only waits: no bytes are read or stored."""

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
    """The settings `[handlers.simulate]`."""

    seconds: Annotated[
        str,
        Meta(pattern=r"\A\d+(\.\d+)?(-\d+(\.\d+)?)?\Z"),
        Setting(
            "Duration of a request: a number of seconds, or a range such as 30-60.",
            form="a number of seconds, or a range such as 30-60",
        ),
    ] = "30-60"


def open_simulation(settings: Settings, *_: Any) -> SimulateHandler:
    """Return the handler with the duration from the settings."""
    own = settings.own("handlers", "simulate", SimulateSettings)
    return SimulateHandler(own.seconds, random.Random())  # noqa: S311 - no secret


class SimulateHandler:
    """Waits a uniformly distributed time from `seconds` ("2" or "30-60") for each request of any type."""

    def __init__(self, seconds: str, rng: random.Random) -> None:
        """Parse the range.

        Raises:
            SettingsError: it is invalid, or its end is before its start.
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
        SettingsError: it is invalid, or its end is before its start.
    """
    first, _, last = seconds.partition("-")
    try:
        least = float(first)
        most = float(last or first)
    except ValueError:
        least, most = 1.0, 0.0
    if not 0 <= least <= most:
        raise SettingsError(
            f"handlers.simulate.seconds must be a number of seconds or a range such as 30-60, got {seconds!r}"
        )
    return least, most
