"""Conditions and amounts in CEL, the Common Expression Language: compiled once, tried out, then evaluated.

What comes in: the text from a rules file, later the values of the variables. What goes out: true, false or
a number, or an `ArithmeticError` whose sentence says what kept it from being told. The only file that
imports `cel`, and only once there is a rule: the import takes a good part of a second.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any, Literal

from upswell.errors import SettingsError
from upswell.policies.rules.cel import asked_names, bound_names, speaks_of_null, with_doubles
from upswell.policies.rules.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import cel

    from upswell.policies.rules.variables import Variable

Kind = Literal["condition", "amount"]

LONGEST = 2000
"""Characters of one expression, at most."""

_SAMPLES = (1.0, 0.0, 1000.0)
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
        self._context = self._new_context({})

    def look(self, values: dict[str, Any]) -> None:
        """Take in new values; always the same names, None for what is not known."""
        before, self.values = self.values, values
        # Handing one value over costs a microsecond, and half of them are the same for minutes.
        changed = {
            name: value for name, value in values.items() if name not in before or before[name] != value
        }
        if None in changed.values():  # a context cannot forget
            self._context = self._new_context(values)
        else:
            self._context.update(changed)

    def missing(self, names: tuple[str, ...]) -> str:
        """Return which of the names are not known, in words; empty where all are."""
        missing = [name for name in names if self.values[name] is None]
        if not missing:
            return ""
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known"

    def _new_context(self, values: dict[str, Any]) -> cel.Context:
        known = {name: value for name, value in values.items() if value is not None}
        return _cel().Context(variables=known, functions={**FUNCTIONS, "known": self._is_known})

    def _is_known(self, name: str) -> bool:
        return self.values[name] is not None

    def evaluate(self, program: cel.Program) -> Any:
        """Return what a program gives with these values; errors are CEL's own."""
        return program.execute(self._context)


class Expression:
    """One compiled expression.

    Raises:
        ValueError: it is no CEL, speaks of something unknown, or cannot give what its `kind` asks for; the
            sentence says which.
        SettingsError: the library is not installed.
    """

    def __init__(self, text: str, kind: Kind) -> None:
        self.text = " ".join(text.split())
        self._kind: Kind = kind
        if len(text) > LONGEST:
            raise ValueError(f"must have at most {LONGEST} characters, got {len(text)}")
        if speaks_of_null(text):
            raise ValueError("speaks of null, which nothing is: known(p95) asks whether p95 is known")
        _compile(text)  # for the columns of its error
        self._program = _compile(with_doubles(text))
        own = bound_names(text)
        used = (*self._program.variables(), *asked_names(text))
        self.variables = tuple(dict.fromkeys(name for name in used if name not in own))
        self._check_names()
        self._try_out()

    def value(self, scope: Scope) -> float:
        """Return the condition's truth or the amount.

        Raises:
            ArithmeticError: it cannot be told, because of what the sentence says.
        """
        try:
            value = scope.evaluate(self._program)
        except (TypeError, ZeroDivisionError, OverflowError, RuntimeError, ValueError) as error:
            raise ArithmeticError(self._why(scope, error)) from error
        if (value is True or value is False) and self._kind == "condition":
            return value
        if type(value) in (int, float) and self._kind == "amount" and math.isfinite(value):
            return float(value)
        missing = scope.missing(self.variables)
        raise ArithmeticError(missing or f"{self.text} gives {value!r}")

    def _why(self, scope: Scope, error: Exception) -> str:
        missing = scope.missing(self.variables)
        if missing:
            return missing
        if isinstance(error, ZeroDivisionError) or "null" in str(error):
            return f"{self.text} divides by zero"
        return f"{self.text}: {_first_sentence(error)}"

    def _check_names(self) -> None:
        for name in self.variables:
            if name not in VARIABLES:
                raise ValueError(f"speaks of an unknown variable: {name}{_nearest(name, VARIABLES)}")
        known = _GIVEN | FUNCTIONS.keys() | {"known"}
        for name in self._program.functions():
            if name[0].isalpha() and name not in known:
                raise ValueError(f"calls an unknown function: {name}{_nearest(name, known)}")

    def _try_out(self) -> None:
        """Evaluate with values of the right types, so that a mistake in types is told before it matters."""
        for sample in _SAMPLES:
            scope = Scope()
            scope.look({name: _sample(VARIABLES[name], sample) for name in self.variables})
            try:
                value = scope.evaluate(self._program)
            except TypeError as error:
                if "null" in str(error):
                    continue  # a division by this sample's zero
                raise ValueError(f"mixes types: {_first_sentence(error)}") from error
            except RuntimeError as error:  # a function of ours refused what it was given
                raise ValueError(f"cannot be: {_first_sentence(error)}") from error
            except (ZeroDivisionError, OverflowError, ValueError):
                continue
            if self._kind == "condition" and not isinstance(value, bool):
                raise ValueError(f"must be true or false, but gives {value!r}")
            if self._kind == "amount" and type(value) not in (int, float):
                raise ValueError(f"must be a number, but gives {value!r}")


def _sample(variable: Variable, sample: float) -> Any:
    value: Any = str(sample) if variable.text else sample > 0 if variable.truth else sample
    return [value] if variable.list_of else value


def _cel() -> Any:
    try:
        import cel  # noqa: PLC0415 - it brings a command line of its own along: most of a second
    except ImportError as error:
        raise SettingsError('rules need CEL: install it with pip install "upswell[rules]"') from error
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


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
