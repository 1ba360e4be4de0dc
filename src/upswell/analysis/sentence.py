"""The one place where a decision becomes words: log, status, explain, demo and scale requests.

A template names its inputs in braces, each with its unit behind a colon:

    {n}              a number                      12
    {n:s}            seconds                       2.1 s
    {n:%}            a share                       95%
    {n:+}            a difference                  +3
    {n:at}           an instant                    2026-11-24 14:00:00 UTC
    {n:upload}       things, singular or plural    1 upload, 240 uploads
    {n:waits|wait}   both forms                    1 waits, 240 wait

Anything else in braces is doubled: `escaped`. An input that is missing reads "unknown".
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.decision import Decision, Reason, Step

_WHOLE = 100
"""From here on a number has no decimals."""
_MOST_DIGITS = 1e15


def sentence(decision: Decision) -> str:
    """Return a decision in one sentence: `scale out 5 → 12: 240 uploads queued, ...; limited to ...`."""
    return f"{headline(decision)}: {'; '.join(map(told, decision.steps))}"


def headline(decision: Decision) -> str:
    """Return what a decision does: `scale out 5 → 12`, `scale in 7 → 6` or `hold 6`."""
    before, after = decision.before, decision.desired_workers
    if after == before:
        return f"hold {after}"
    return f"scale {'out' if after > before else 'in'} {before} → {after}"


def told(reason: Reason | Step) -> str:
    """Return why, with its numbers."""
    inputs = reason.inputs
    words: list[str] = []
    for literal, name, unit in _parsed(reason.why):
        words.append(literal)
        if name is not None:
            words.append(_quantity(inputs.get(name), unit))
    return "".join(words)


def gist(reason: Reason | Step) -> str:
    """Return why, without its numbers: what decisions have in common.

    `N uploads queued, N s each; to start all within N s takes N slots = N workers`
    """
    return "".join(
        literal if name is None else f"{literal}{_unknown_quantity(unit)}"
        for literal, name, unit in _parsed(reason.why)
    )


def quantities(reason: Reason | Step) -> list[tuple[str, str]]:
    """Return the name of each input and its value with its unit, in the order of the template."""
    found: dict[str, str] = {}
    for _, name, unit in _parsed(reason.why):
        if name is not None:
            value = reason.inputs.get(name)
            bare = unit if unit in _UNITS else ""
            found.setdefault(name.replace("_", " "), _quantity(value, bare))
    return list(found.items())


def escaped(text: str) -> str:
    """Return a text as a template that says just this."""
    return text.replace("{", "{{").replace("}", "}}")


def number(value: float) -> str:
    """Return a number as people read it: whole, or with three digits.

    >>> number(12.0), number(0.12345), number(1234.5)
    ('12', '0.123', '1234')
    """
    if not abs(value) < _MOST_DIGITS:  # what is no number is not less, either
        return f"{value:.3g}"
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


def instant(at: float) -> str:
    """Return the UTC date and time of seconds since 1970.

    >>> instant(1_795_000_000.0)
    '2026-11-18 11:06:40 UTC'
    """
    try:
        return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"{at:.3g} s after 1970"


_UNITS: dict[str, Callable[[float], str]] = {
    "": number,
    "s": lambda value: f"{number(value)} s",
    "%": lambda value: f"{number(round(100 * value, 6))}%",
    "at": instant,
    "+": lambda value: f"{'+' if value > 0 else ''}{number(value)}",
}


def _quantity(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return "unknown"
    if unit in _UNITS:
        return _UNITS[unit](value)
    one, many = _forms(unit)
    shown = number(value)
    return f"{shown} {one}" if shown == "1" else f"{shown} {many}"


def _unknown_quantity(unit: str) -> str:
    if unit in _UNITS:
        return {"s": "N s", "%": "N%"}.get(unit, "N")
    return f"N {_forms(unit)[1]}"


@lru_cache(maxsize=4096)
def _forms(unit: str) -> tuple[str, str]:
    """Return what one of these is called, and several."""
    one, bar, many = unit.partition("|")
    return one, many if bar else one + "s"


@lru_cache(maxsize=4096)
def _parsed(why: str) -> tuple[tuple[str, str | None, str], ...]:
    """Return (text, name of the input behind it, its unit) of each part of a template."""
    return tuple((literal, name, unit or "") for literal, name, unit, _ in Formatter().parse(why))
