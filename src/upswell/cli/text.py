"""Text for people: durations, bytes, instants, a question."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from upswell.errors import UpswellError


def seconds(value: float | None) -> str:
    """Return a duration with about three digits; "-" if unknown.

    >>> seconds(0.0123), seconds(2.345), seconds(75.0), seconds(None)
    ('12ms', '2.35s', '75.0s', '-')
    """
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f}ms"
    return f"{value:.2f}s" if value < 10 else f"{value:.1f}s"  # noqa: PLR2004 - three digits either way


def duration(value: float) -> str:
    """Return a duration in a suitable unit.

    >>> duration(75.0), duration(7200.0), duration(200_000.0)
    ('75 s', '120 min', '55.6 h')
    """
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if value > 2 * unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} s"


def hours(value: float | None) -> str:
    """Return a long duration in whole seconds; "-" if unknown.

    >>> hours(7.2), hours(45296.0), hours(None)
    ('0:00:07', '12:34:56', '-')
    """
    return "-" if value is None else str(timedelta(seconds=round(value)))


def rough(value: float) -> str:
    """Return a duration in one unit, for a narrow column.

    >>> rough(0.3), rough(59.4), rough(150.0), rough(9000.0), rough(200_000.0)
    ('0 s', '59 s', '2 min', '2 h', '2 d')
    """
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= length:
            return f"{int(value // length)} {unit}"
    return f"{max(0, int(value))} s"


def number(value: float | None) -> str:
    """Return a count or rate; "-" if unknown."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, singular or plural.

    >>> counted(1, "worker"), counted(2, "worker")
    ('1 worker', '2 workers')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def money(value: float, currency: str = "") -> str:
    """Return an amount: two decimals, or three digits of one that is less than a cent; no exponent.

    >>> money(1234.5, "EUR"), money(0.0000219), money(0.0)
    ('1,234.50 EUR', '0.0000219', '0.00')
    """
    small = 0 < abs(value) < 0.01  # noqa: PLR2004 - a cent
    shown = f"{Decimal(f'{value:.3g}'):f}" if small else f"{value:,.2f}"
    return f"{shown} {currency}" if currency else shown


def size(value: float) -> str:
    """Return a number of bytes in a suitable unit.

    >>> size(512), size(1_500_000)
    ('512 B', '1.4 MiB')
    """
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004 - the units' step
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def terminal_width() -> int | None:
    """Return how many columns there are; None where nobody looks: a pipe or a file."""
    is_seen = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return shutil.get_terminal_size().columns if is_seen else None


def wrapped(line: str) -> str:
    """Return a line wrapped between words, and indented, to the terminal's width; unchanged without one."""
    width = terminal_width()
    if width is None:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)


def confirm_deletion(what: str) -> None:
    """Ask whether to delete something; raise an UpswellError where the answer is no."""
    if not click.confirm(f"permanently delete {what}?"):
        raise UpswellError("nothing was deleted")


def instant(at: float) -> str:
    """Return an instant in ISO form, in UTC.

    >>> instant(0.5)
    '1970-01-01T00:00:00Z'
    """
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def moment(at: float) -> str:
    """Return an instant as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def clock(at: float) -> str:
    """Return the local time of day of an instant."""
    return time.strftime("%H:%M:%S", time.localtime(at))
