"""Conditions and amounts in CEL, the Common Expression Language: compiled once, tried out, then evaluated.

What comes in: the text from a rules file, later the values of the variables. What goes out: true, false or
a number, or an `ArithmeticError` that says what is missing. The only file that imports `cel`, and only once
there is a rule: the import takes most of a second.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal

from upswell import extras
from upswell.errors import SettingsError
from upswell.policies.rules.cel import asked_names, bound_names, check_cost, with_doubles
from upswell.policies.rules.variables import LISTS, VARIABLES
from upswell.registry import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    import cel

Kind = Literal["condition", "amount"]

LONGEST = 2000
"""Characters of one expression, at most."""

_SAMPLES = (1.0, 0.0, 1000.0)
_FAILURES = (TypeError, ZeroDivisionError, OverflowError, RuntimeError, ValueError)
"""What the library raises where an expression has no value."""
_FIRST_ERROR = re.compile(r"<input>:(?P<line>\d+):(?P<column>\d+): (?:Syntax error: )?(?P<what>[^\n]*)")
_GIVEN = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "duration"}
)


def _nonzero(divisor: Any) -> Any:
    """Return a divisor, null for zero: CEL refuses to divide by null, where 0.0 would give infinity."""
    return divisor or None


def _double(function: Callable[..., float]) -> Callable[..., float]:
    """Return a function whose numbers stay doubles in CEL: whole ones from Python would not mix with them."""
    return lambda *numbers: float(function(*numbers))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": _double(min),
    "max": _double(max),
    "ceil": _double(math.ceil),
    "floor": _double(math.floor),
    "round": _double(round),
    "abs": _double(math.fabs),
    "nonzero": _nonzero,
}


class Scope:
    """The variables' present values; one for each policy. What is not known is not defined in it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._context: cel.Context | None = None

    def look(self, values: dict[str, Any]) -> None:
        """Take in new values; always the same names, None for what is not known."""
        before, self.values = self.values, values
        # Handing one value over costs a microsecond, and half of them are the same for minutes.
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        if self._context is None or None in changed.values():  # a context cannot forget
            known = {name: value for name, value in values.items() if value is not None}
            self._context = _cel().Context(known, {**FUNCTIONS, "known": self._is_known})
        else:
            self._context.update(changed)

    def missing(self, names: tuple[str, ...]) -> str:
        """Return which of the names are not known, in words; empty where all are."""
        missing = [name for name in names if self.values[name] is None]
        if not missing:
            return ""
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known"

    def _is_known(self, name: str) -> bool:
        return self.values[name] is not None

    def evaluate(self, program: cel.Program) -> Any:
        """Return what a program gives with these values; errors are CEL's own."""
        return program.execute(self._context)


class Expression:
    """One compiled expression.

    Raises:
        ValueError: it is no CEL, speaks of something unknown, or cannot give what its `kind` asks for.
        SettingsError: the library is not installed.
    """

    def __init__(self, text: str, kind: Kind) -> None:
        self.text = " ".join(text.split())
        self._kind: Kind = kind
        self._types = (bool,) if kind == "condition" else (int, float)
        if len(text) > LONGEST:
            raise ValueError(f"must have at most {LONGEST} characters, got {len(text)}")
        check_cost(text, LISTS)
        doubles = with_doubles(text)
        _compile(text)  # for the columns of its error
        self._program = _compile(doubles)
        used = dict.fromkeys((*self._program.variables(), *asked_names(text)))
        self.variables = tuple(name for name in used if name not in bound_names(text))
        self._check_names()
        for number in _SAMPLES:
            self._try_out(number)

    def value(self, scope: Scope) -> float:
        """Return the condition's truth or the amount.

        Raises:
            ArithmeticError: it has no value now, because of what the message says.
        """
        try:
            value = scope.evaluate(self._program)
        except _FAILURES as error:
            divides = isinstance(error, ZeroDivisionError) or "null" in str(error)
            why = f"{self.text} divides by zero" if divides else f"{self.text}: {_first_sentence(error)}"
            raise ArithmeticError(scope.missing(self.variables) or why) from error
        if type(value) in self._types and math.isfinite(value):
            return value
        raise ArithmeticError(scope.missing(self.variables) or f"{self.text} gives {value!r}")

    def _check_names(self) -> None:
        for name in self.variables:
            if name not in VARIABLES:
                raise ValueError(f"speaks of an unknown variable: {name}{nearest(name, VARIABLES)}")
        known = _GIVEN | FUNCTIONS.keys() | {"known"}
        for name in self._program.functions():
            if name[0].isalpha() and name not in known:
                raise ValueError(f"calls an unknown function: {name}{nearest(name, known)}")

    def _try_out(self, number: float) -> None:
        """Evaluate with values of the right types: a mistake in types is found when the file is read."""
        scope = Scope()
        scope.look({name: VARIABLES[name].sample(number) for name in self.variables})
        try:
            value = scope.evaluate(self._program)
        except _FAILURES as error:
            if isinstance(error, TypeError | RuntimeError) and "null" not in str(error):  # null: zero divides
                what = "mixes types" if isinstance(error, TypeError) else "cannot be"
                raise ValueError(f"{what}: {_first_sentence(error)}") from error
            return
        if type(value) not in self._types:
            needed = "true or false" if self._kind == "condition" else "a number"
            raise ValueError(f"must be {needed}, but gives {value!r}")


def _cel() -> Any:
    try:
        import cel  # noqa: PLC0415 - it brings a command line of its own along: most of a second
    except ImportError as error:
        raise SettingsError(extras.needs("policy rules", "rules", error)) from error
    return cel


def _compile(text: str) -> cel.Program:
    try:
        return _cel().compile(text)
    except ValueError as error:
        raise ValueError(_syntax(str(error), text)) from error


def _syntax(message: str, text: str) -> str:
    found = _FIRST_ERROR.search(message)
    shown = " ".join(text.split())
    if found is None:
        return f"must be CEL, got {shown[:200]!r}"
    line = f"line {found['line']}, " if "\n" in text.strip() else ""
    what = found["what"].split(" expecting ")[0]
    return f"must be CEL, got {shown[:200]!r}: {line}column {found['column']}: {what[:200]}"


def _first_sentence(error: Exception) -> str:
    return re.split(r"(?<=\w)\.\s", str(error), maxsplit=1)[0]
