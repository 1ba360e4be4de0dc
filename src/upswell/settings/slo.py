"""The objective: a share of uploads, and the time within which they must be stored."""

from __future__ import annotations

import re

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.settings.duration import UNITS

_SLO = re.compile(
    r"\A\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s*<=?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|h)\s*\Z"
)


class Slo(Struct, frozen=True):
    """The objective: the share of uploads that must be stored within `seconds`."""

    share: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Parse an objective.

        >>> Slo.parse("95% < 30s")
        Slo(share=0.95, seconds=30.0)

        Raises:
            SettingsError: another form, a share outside 0 to 100 % (exclusive), or a time of 0.
        """
        match = _SLO.match(text)
        if match is None:
            raise SettingsError(f'slo must have the form "95% < 30s" (units: ms, s, min, h), got {text!r}')
        share, seconds = float(match["percent"]) / 100, float(match["number"]) * UNITS[match["unit"]]
        if not 0 < share < 1:
            raise SettingsError(f"slo must have a percentage > 0 and < 100, got {text!r}")
        if seconds <= 0:
            raise SettingsError(f"slo must have a time > 0 s, got {text!r}")
        return cls(share, seconds)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.share * 100:g}% < {self.seconds:g}s"
