"""The journal that a command reads: its path, the application, the instant or period."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime
from pathlib import Path

from upswell.errors import JournalError
from upswell.journal import JournalReader
from upswell.settings import Settings
from upswell.settings.duration import UNITS

_AGO = re.compile(r"\A-?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|min|h|d)\Z")
_EARLIEST, _LATEST = -62_135_424_000.0, 253_402_128_000.0
"""The years 1 to 9999 in every time zone: dates go no further."""
_CLOCK = re.compile(r"\A\d{1,2}:\d{2}(:\d{2})?\Z")


def journal_path(settings: Settings) -> Path:
    """Return the journal's path."""
    return settings.state_path / "journal.sqlite"


def open_journal(path: str | Path | None, settings: Settings | None = None) -> JournalReader:
    """Return a reader of the journal at `path`, a file or a state folder; without it, of this installation's.

    Raises:
        JournalError: the file does not exist.
    """
    file = Path(path) if path else journal_path(settings or Settings())
    if file.is_dir():
        file /= "journal.sqlite"
    if not file.is_file():
        why = "give its file, or the state folder" if path else "a monitor with this state_dir writes it"
        raise JournalError(f"no journal at {file} ({why})")
    return JournalReader(file)


def application(journal: JournalReader, app: str | None) -> str:
    """Return the named application, or the only one.

    Raises:
        JournalError: it is not in the journal, or the journal has several and none is named.
    """
    known = journal.applications()
    if app is None and len(known) == 1:
        return known[0]
    names = ", ".join(known) or "it has none yet"
    if app is None:
        raise JournalError(f"--app must name one of the journal's applications: {names}")
    if app not in known:
        raise JournalError(f"--app must name one of the journal's applications: {names}; got {app}")
    return app


def parse_time(text: str, newest: float, now: float, option: str = "--at") -> float:
    """Parse an instant; return seconds since 1970.

    Args:
        text: ISO 8601 (without a zone: local time), seconds since 1970, `-5min` or `5min` (before now),
            `14:03:20` (the last such time of day before the newest decision), or `latest`.
        newest: instant of the newest decision.
        now: the current time.
        option: what the text was given to, for the error.

    Raises:
        JournalError: the text has another form.
    """
    ago = _AGO.match(text)
    if ago:
        return max(0.0, now - float(ago["number"]) * UNITS[ago["unit"]])
    if text == "latest":
        return newest
    try:
        if _CLOCK.match(text):
            return _time_of_day(text, newest)
        number = _number(text)
        at = datetime.fromisoformat(text).timestamp() if number is None else number
    except (ValueError, OverflowError, OSError):
        at = math.nan
    if not _EARLIEST <= at <= _LATEST:  # nor is NaN
        raise JournalError(
            f"{option} must be a time such as 2026-11-24T14:03:20, 14:03:20, -5min, 1795000000 or latest, "
            f"got {text!r}"
        )
    return at


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time_of_day(text: str, newest: float) -> float:
    day = time.strftime("%Y-%m-%d", time.localtime(newest))
    padded = text if text.index(":") == 2 else f"0{text}"  # noqa: PLR2004 - two digits of hours
    at = datetime.fromisoformat(f"{day}T{padded}").timestamp()
    # One second of tolerance: displayed times are rounded down.
    return at if at <= newest + 1 else at - 86400
