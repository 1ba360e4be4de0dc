"""One rule: a table of the rules file in, a compiled `Rule` out, or a `RuleError` that names the key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from upswell.policies.rules.expressions import Expression
from upswell.policies.rules.patterns import PATTERNS, Pattern
from upswell.registry import nearest
from upswell.settings.duration import UNITS

if TYPE_CHECKING:
    from upswell.policies.rules.expressions import Kind, Scope

LONGEST_SECONDS = 31 * 86400.0
LONGEST_SENTENCE = 200
MOST = 1e9
MOST_TIMES = 10_000
MOST_WORKERS = 1_000_000
"""What a scale request can carry; the bounds of the settings stand around any rule."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|h|d)")

_ACTIONS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "set": ("set {amount}", lambda _, amount: amount),
    "add": ("{amount:+}", lambda workers, amount: workers + amount),
    "multiply": ("x {amount}", lambda workers, amount: workers * amount),
    "at_least": ("at least {amount}", max),
    "at_most": ("at most {amount}", min),
    "hold": ("hold {amount}", lambda _, amount: amount),
}
"""What each says, and what it makes of a number of workers."""


class RuleError(Exception):
    """What is wrong with a key; an empty key is the rule, or the file."""

    def __init__(self, what: str, key: str = "") -> None:
        super().__init__(what)
        self.key = key


class Rule(Struct, frozen=True, kw_only=True):
    """One rule, compiled.

    `amount` is its action's number, or an expression's; None is the present number. `pattern` makes its
    pattern, which sees `subject` (and `then`, which follows it) at each snapshot; `when` must be true now.
    `variables` are the names in all its expressions; `text` says its condition.
    """

    name: str
    action: str
    amount: float | Expression | None
    variables: tuple[str, ...]
    when: Expression | None
    pattern: Callable[[], Pattern] | None
    subject: Expression | None
    then: Expression | None
    text: str
    priority: int = 0
    cooldown: float = 0.0
    because: str = ""

    @property
    def says(self) -> str:
        """The template that says what its action does; its input is `amount`."""
        return _ACTIONS[self.action][0]

    def apply(self, workers: int, current: int, scope: Scope) -> tuple[int, float]:
        """Return what its action makes of `workers`, rounded up to whole ones, and the amount.

        Raises:
            ArithmeticError: the amount cannot be computed.
        """
        amount = current if self.amount is None else self.amount
        if isinstance(amount, Expression):
            amount = float(amount.value(scope))
        number = _ACTIONS[self.action][1](workers, amount)
        # A little slack for what floats make of 3 x 1.1 x 10.
        return max(0, math.ceil(min(number, MOST_WORKERS) - 1e-9)), amount


def rule_of(name: str, table: Any) -> Rule:
    """Return the rule that a table of the file holds.

    Raises:
        RuleError: anything in it is unknown, invalid or missing.
    """
    if not isinstance(table, dict):
        raise RuleError(f"must be a table [rules.{name}], got {table!r}")
    if not _NAME.fullmatch(name):
        raise RuleError("its name must be 1 to 64 letters, digits, '_' or '-'")
    given = _values(cast("dict[str, Any]", table))
    key, pattern = _pattern(given)
    when: Expression | None = given.get("when")
    then: Expression | None = given.get("followed_by")
    if key in ("rising", "count"):
        subject = given[key]
        text = f"{key} {subject.text}{f' and {when.text}' if when else ''}"
    elif when is None:
        raise RuleError("must say when: a condition, or rising or count")
    else:
        text = f"{when.text}, then {then.text}" if then else when.text
        when, subject = (None, when) if pattern else (when, None)
    action = _action(given)
    amount = given[action]
    expressions = [each for each in (when, subject, then, amount) if isinstance(each, Expression)]
    return Rule(
        name=name,
        action=action,
        amount=amount,
        variables=tuple(dict.fromkeys(name for each in expressions for name in each.variables)),
        when=when,
        pattern=pattern,
        subject=subject,
        then=then,
        text=text,
        **{key: given[key] for key in ("priority", "cooldown", "because") if key in given},
    )


def _values(table: dict[str, Any]) -> dict[str, Any]:
    """Return what each key holds, as its reader makes it."""
    for key in table:
        if key not in _READERS:
            raise RuleError(f"unknown key: {key}{nearest(key, _READERS)}", key)
    given: dict[str, Any] = {}
    for key, value in table.items():
        try:
            given[key] = _READERS[key](value)
        except ValueError as error:
            raise RuleError(f"{key} {error}", key) from error
    return given


def _pattern(given: dict[str, Any]) -> tuple[str, Callable[[], Pattern] | None]:
    """Return the key of the rule's pattern and what makes it; none: what is so now counts."""
    keys = [key for key in PATTERNS if key in given and key != "within"]
    if len(keys) > 1:
        raise RuleError(f"must have one pattern, got {' and '.join(keys)}", keys[1])
    key = keys[0] if keys else "within" if "within" in given else ""
    kind, *needed = PATTERNS.get(key, (None,))
    for other in needed:
        if other not in given:
            raise RuleError(f"{key} needs {other} besides", key)
    for other in ("within", "by", "reaches"):
        if other in given and other not in needed:
            raise RuleError(f"{other} does not go with {key or 'a plain condition'}", other)
    return key, partial(kind, *(given[other] for other in needed)) if kind else None


def _action(given: dict[str, Any]) -> str:
    keys = [key for key in _ACTIONS if key in given]
    if len(keys) != 1:
        got = " and ".join(keys) or "none"
        raise RuleError(f"must have one action of {', '.join(_ACTIONS)}, got {got}", "".join(keys[1:2]))
    return keys[0]


def _must(fits: bool, form: str, value: Any) -> None:
    if not fits:
        raise ValueError(f"must be {form}, got {value!r}")


def _number(value: Any) -> float:
    """Return a number; NaN, which no limit admits, for anything else."""
    return float(value) if type(value) in (int, float) else math.nan


def _expression(kind: Kind, value: Any) -> Expression:
    _must(isinstance(value, str), "CEL in quotes", value)
    return Expression(value, kind)


def _amount(value: Any, least: float = 0.0) -> float | Expression:
    if isinstance(value, str):
        return Expression(value, "amount")
    number = _number(value)
    _must(abs(number) <= MOST_WORKERS, f"a number up to {MOST_WORKERS}, or CEL in quotes", value)
    _must(number >= least, "a number >= 0", value)
    return number


def _hold(value: Any) -> None:
    _must(value is True, "true", value)


def _seconds(value: Any) -> float:
    """Return a duration: a text with its unit, or a number of seconds."""
    seconds = _number(value)
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match["number"]) * UNITS[match["unit"]]
    form = 'a duration like "30s" (units: ms, s, min, h, d), above 0 and at most 31d'
    _must(0 < seconds <= LONGEST_SECONDS, form, value)
    return seconds


def _whole(least: int, most: int, value: Any) -> int:
    _must(type(value) is int and least <= value <= most, f"a whole number from {least} to {most}", value)
    return value


def _positive(value: Any) -> float:
    _must(0 < _number(value) <= MOST, "a number above 0", value)
    return float(value)


def _sentence(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_SENTENCE:
        raise ValueError(f"must be a text of at most {LONGEST_SENTENCE} characters")
    return " ".join(value.split())


_READERS: dict[str, Callable[[Any], Any]] = {
    "when": partial(_expression, "condition"),
    "held_for": _seconds,
    "within": _seconds,
    "absent_for": _seconds,
    "times": partial(_whole, 1, MOST_TIMES),
    "followed_by": partial(_expression, "condition"),
    "rising": partial(_expression, "amount"),
    "by": _positive,
    "count": partial(_expression, "amount"),
    "reaches": _positive,
    **dict.fromkeys(("set", "multiply", "at_least", "at_most"), _amount),
    "add": partial(_amount, least=-MOST_WORKERS),
    "hold": _hold,
    "priority": partial(_whole, -1000, 1000),
    "cooldown": _seconds,
    "because": _sentence,
}
"""Each key of a rule and what reads its value; the error says what the value must be."""
