"""Times as people write them."""

from __future__ import annotations

import pytest

from upswell.errors import SettingsError
from upswell.settings.duration import parse_duration


def test_durations_have_units() -> None:
    assert [parse_duration(text) for text in ("90", "90s", "1.5min", "2h", "1d")] == [90, 90, 90, 7200, 86400]
    for text in ("", "-3", "0", "3 weeks", "nan"):
        with pytest.raises(SettingsError, match="duration must be"):
            parse_duration(text)
