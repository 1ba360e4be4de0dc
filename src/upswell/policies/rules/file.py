"""A rules file: TOML in, a `Rulebook` of compiled rules out, or an error that names file, line and rule."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from msgspec import Struct

from upswell.policies.rules import patterns
from upswell.policies.rules.actions import ACTIONS, Action
from upswell.policies.rules.expressions import Expression
from upswell.policies.rules.patterns import Pattern
from upswell.policies.rules.source import RulesSource
from upswell.policies.rules.variables import VARIABLES

if TYPE_CHECKING:
    from upswell.policies.rules.expressions import Kind

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_SECONDS = 31 * 86400.0
MOST_TIMES = 10_000
MOST_RULES = 100

_PATTERNS: dict[str, tuple[str, ...]] = {
    "held_for": (),
    "absent_for": (),
    "times": ("within",),
    "followed_by": ("within",),
    "rising": ("by", "within"),
    "count": ("reaches", "within"),
}
"""Each pattern's key and the keys that it needs besides; `within` alone is the sixth."""

_KEYS = (
    "when", "held_for", "within", "absent_for", "times", "followed_by", "rising", "by", "count", "reaches",
    *ACTIONS, "priority", "cooldown", "because",
)  # fmt: skip


class Rule(Struct, frozen=True, kw_only=True):
    """One rule, compiled.

    `pattern` makes its pattern, which sees `subject` (and `then`, which follows it) at each snapshot;
    `when` is what must be so now. `variables` are the names in all its expressions.
    """

    name: str
    action: Action
    variables: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    """Those of the variables that are numbers."""
    when: Expression | None = None
    pattern: Callable[[], Pattern] | None = None
    subject: Expression | None = None
    then: Expression | None = None
    text: str = ""
    priority: int = 0
    cooldown: float = 0.0
    because: str = ""


class Rulebook(Struct, frozen=True):
    """The rules in the order in which they are applied (the last has the last word), and their time zone."""

    rules: tuple[Rule, ...]
    zone: tzinfo
    variables: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def parse(name: str, text: str) -> Rulebook:
    """Return the rules that a file's `text` holds; `name` is the file's, for errors.

    The same text is compiled once, however many applications share it.

    Raises:
        SettingsError: no TOML, no CEL, or anything unknown or out of bounds.
    """
    source = RulesSource(name, text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise source.toml_error(error) from error
    for key in document:
        if key not in ("timezone", "rules"):
            raise source.error(f"unknown key: {key}{_nearest(key, ('timezone', 'rules'))}", key=key)
    zone = _zone(source, document.get("timezone", "UTC"))
    tables: Any = document.get("rules")
    if not isinstance(tables, dict) or not tables:
        raise source.error("there must be a rule at least: a table [rules.its-name]")
    tables = cast("dict[str, Any]", tables)
    if len(tables) > MOST_RULES:
        raise source.error(f"there must be at most {MOST_RULES} rules, got {len(tables)}")
    rules = [_RuleReader(source, name, table).rule() for name, table in tables.items()]
    rules.sort(key=lambda rule: rule.priority)
    names = {name for rule in rules for name in rule.variables}
    return Rulebook(tuple(rules), zone, tuple(sorted(names)))


def _zone(source: RulesSource, value: Any) -> tzinfo:
    if value == "UTC":
        return UTC
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, TypeError, OSError) as error:  # OSError: a folder of the database
        raise source.error(
            f'timezone must be a name of the time zone database, like "Europe/Helsinki", got {value!r}',
            key="timezone",
        ) from error


class _RuleReader:
    """Reads one rule's table; each method reads one kind of value, and its error names the key."""

    def __init__(self, source: RulesSource, name: str, table: Any) -> None:
        self._source = source
        self._name = name
        if not isinstance(table, dict):
            raise source.error(f"must be a table [rules.{name}], got {table!r}", name)
        self._table = cast("dict[str, Any]", table)

    def rule(self) -> Rule:
        """Return the rule."""
        if not _NAME.fullmatch(self._name):
            raise self._error("its name must be 1 to 64 letters, digits, '_' or '-'")
        for key in self._table:
            if key not in _KEYS:
                raise self._error(f"unknown key: {key}{_nearest(key, _KEYS)}", key)
        key, make = self._pattern()
        when = self._expression("when", "condition")
        condition = when.text if when else ""
        subject = then = None
        if key in ("rising", "count"):
            subject = self._expression(key, "amount")
            assert subject is not None  # the pattern's key is there
            condition = f"{key} {subject.text}{f' and {condition}' if condition else ''}"
        elif when is None:
            raise self._error("must say when: a condition, or rising or count")
        elif make is not None:
            subject, when = when, None
            then = self._expression("followed_by", "condition")
            condition += f", then {then.text}" if then else ""
        action = self._action()
        variables = _variables(when, subject, then, action.amount)
        return Rule(
            name=self._name,
            action=action,
            variables=variables,
            numbers=tuple(name for name in variables if VARIABLES[name].is_number),
            when=when,
            pattern=make,
            subject=subject,
            then=then,
            text=condition,
            priority=self._integer("priority", -1000, 1000, 0),
            cooldown=self._seconds("cooldown") if "cooldown" in self._table else 0.0,
            because=self._because(),
        )

    def _pattern(self) -> tuple[str, Callable[[], Pattern] | None]:
        """Return the key of the rule's pattern and what makes it; none: what is so now counts."""
        table = self._table
        keys = [key for key in _PATTERNS if key in table]
        if len(keys) > 1:
            raise self._error(f"must have one pattern, got {' and '.join(keys)}", keys[1])
        key = keys[0] if keys else "within" if "within" in table else ""
        needed = _PATTERNS.get(key, ())
        for other in needed:
            if other not in table:
                raise self._error(f"{key} needs {other} besides", key)
        for other in ("within", "by", "reaches"):
            if other in table and other not in needed and other != key:
                raise self._error(f"{other} does not go with {key or 'a plain condition'}", other)
        if not key:
            return "", None
        return key, self._maker(key)

    def _maker(self, key: str) -> Callable[[], Pattern]:
        if key in ("held_for", "absent_for"):
            seconds = self._seconds(key)
            return lambda: patterns.HeldFor(seconds, so=key == "held_for")
        seconds = self._seconds("within")
        if key == "times":
            times = self._integer("times", 1, MOST_TIMES, 1)
            return lambda: patterns.TimesWithin(times, seconds)
        if key == "followed_by":
            return lambda: patterns.FollowedBy(seconds)
        if key == "rising":
            by = self._positive("by")
            return lambda: patterns.Rising(by, seconds)
        if key == "count":
            reaches = self._positive("reaches")
            return lambda: patterns.SumWithin(reaches, seconds)
        return lambda: patterns.Within(seconds)

    def _action(self) -> Action:
        keys = [key for key in ACTIONS if key in self._table]
        if len(keys) != 1:
            got = " and ".join(keys) or "none"
            raise self._error(f"must have one action of {', '.join(ACTIONS)}, got {got}", *keys[1:2])
        key = keys[0]
        value = self._table[key]
        if key == "hold":
            if value is not True:
                raise self._error(f"hold must be true, got {value!r}", key)
            return Action(key)
        if isinstance(value, str):
            return Action(key, amount=self._expression(key, "amount"))
        limit = 1e6
        if type(value) not in (int, float) or not abs(value) <= limit:
            raise self._error(f"{key} must be a number up to 1000000, or CEL in quotes, got {value!r}", key)
        if value < 0 and key != "add":
            raise self._error(f"{key} must be a number >= 0, got {value!r}", key)
        return Action(key, number=float(value))

    def _expression(self, key: str, kind: Kind) -> Expression | None:
        if key not in self._table:
            return None
        text = self._table[key]
        if not isinstance(text, str):
            raise self._error(f"{key} must be CEL in quotes, got {text!r}", key)
        try:
            return Expression(text, kind)
        except ValueError as error:
            raise self._error(f"{key} {error}", key) from error

    def _seconds(self, key: str) -> float:
        """Return a duration: a text with its unit, or a number of seconds."""
        value = self._table[key]
        seconds = float(value) if type(value) in (int, float) else 0.0
        if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            seconds = float(match["number"]) * _UNIT_SECONDS[match["unit"]]
        if not 0 < seconds <= LONGEST_SECONDS:
            raise self._error(
                f'{key} must be a duration like "30s" (units: ms, s, min, h, d), above 0 and at most 31d, '
                f"got {value!r}",
                key,
            )
        return seconds

    def _integer(self, key: str, least: int, most: int, default: int) -> int:
        value = self._table.get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self._error(f"{key} must be a whole number from {least} to {most}, got {value!r}", key)
        return value

    def _positive(self, key: str) -> float:
        value = self._table[key]
        limit = 1e9
        if type(value) not in (int, float) or not 0 < value <= limit:
            raise self._error(f"{key} must be a number above 0, got {value!r}", key)
        return float(value)

    def _because(self) -> str:
        value = self._table.get("because", "")
        longest = 200
        if not isinstance(value, str) or len(value) > longest:
            raise self._error(f"because must be a text of at most {longest} characters", "because")
        return " ".join(value.split())

    def _error(self, what: str, key: str = "") -> Exception:
        return self._source.error(what, self._name, key)


def _variables(*expressions: Expression | None) -> tuple[str, ...]:
    """Return the names that the expressions speak of, each once, in their order."""
    return tuple(dict.fromkeys(name for each in expressions if each for name in each.variables))


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
