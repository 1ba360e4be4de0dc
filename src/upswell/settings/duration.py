"""A time as people write it: `90s`, `15min`, `6h`, `2d`."""

from __future__ import annotations

import re

from upswell.errors import SettingsError

UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""The seconds of each, of one without a unit too."""
_DURATION = re.compile(r"\A\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|min|h|d|)\s*\Z")


def parse_duration(text: str) -> float:
    """Return the seconds of `90`, `90s`, `15min`, `6h` or `2d`.

    Raises:
        SettingsError: it is not one of these, or not a time.
    """
    match = _DURATION.match(text)
    seconds = float(match["number"]) * UNITS[match["unit"]] if match else 0.0
    if seconds <= 0:
        raise SettingsError(f"duration must be a time > 0 such as 90s, 15min, 6h or 2d, got {text!r}")
    return seconds
