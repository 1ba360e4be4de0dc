"""Conditions and amounts: what they give, what they refuse when written, what they cannot tell later."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import SettingsError
from upswell.policies.rules.expressions import Expression, Scope
from upswell.policies.rules.variables import RECENT_REPORTS, VARIABLES

if TYPE_CHECKING:
    from upswell.policies.rules.expressions import Kind


def told(text: str, kind: Kind = "condition", **values: Any) -> float:
    scope = Scope()
    scope.look(values)
    return Expression(text, kind).value(scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95 > 30", True),
        ("p95 > slo_seconds && messages_ready > 3", True),
        ("2 * p95 > 62 / 2", True),
        ("messages_ready / 8 > 0.4", True),
        ("hour in [8, 9]", True),
        ("int(hour) % int(2) == 1", True),
        ("known(p95) && !known(p99)", True),
        ("known(p99) && p99 > 3", False),
        ("app_id.startsWith('e1')", True),
        ("recent_response_times.exists(t, t > slo_seconds)", True),
        ("size(recent_response_times) >= 2", True),
        ("'service_time' in stale", False),
        ("warming_up ? p95 > 99 : p95 > 1", True),
        ("p99 > 1 || p95 > 30", True),
    ],
)
def test_conditions_in_cel(text: str, expected: bool) -> None:
    values: dict[str, Any] = {
        "p95": 31.5, "p99": None, "slo_seconds": 30.0, "messages_ready": 4.0, "hour": 9.0,
        "app_id": "e123456",
        "recent_response_times": [2.0, 31.0], "stale": ["workers"], "warming_up": False,
    }  # fmt: skip
    assert told(text, **values) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ceil(messages_ready / 3)", 2.0),
        ("max(2, floor(p95), abs(-messages_ready))", 31.0),
        ("min(round(p95), 7)", 7.0),
    ],
)
def test_amounts_with_the_functions_that_cel_lacks(text: str, expected: float) -> None:
    assert told(text, "amount", messages_ready=4.0, p95=31.5) == expected


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("p95 > ", "condition", "must be CEL, got 'p95 >': column 7: mismatched input '<EOF>'"),
        ("", "condition", "must be CEL, got '': column 1"),
        (
            "mesages_ready > 3",
            "condition",
            "an unknown variable: mesages_ready; did you mean messages_ready?",
        ),
        ("cel(p95) > 3", "condition", "calls an unknown function: cel; did you mean ceil?"),
        ("p95 + 'a' > 3", "condition", "mixes types: "),
        ("app_id > 3", "condition", "mixes types: "),
        ("p95 == null", "condition", "speaks of null, which nothing is: known(p95) asks"),
        ("known(p59)", "condition", "speaks of an unknown variable: p59"),
        ("known(3)", "condition", "cannot be: "),
        ("ceil(app_id) > 3", "condition", "cannot be: Function 'ceil' error"),
        ("max() > 3", "condition", "cannot be: "),
        ("p95", "condition", "must be true or false, but gives 1.0"),
        ("p95 > 3", "amount", "must be a number, but gives False"),
        ("p95 > 30 # comment", "condition", "column 10: token recognition error"),
        ("p95 > 1" + " " * 2000, "condition", "must have at most 2000 characters, got 2007"),
        ("(" * 900 + "1" + ")" * 900, "amount", "must be CEL"),
        ("\n p95 >\n 3 3", "condition", "line 3, column 4"),
        (
            "recent_response_times.all(a, recent_response_times.all(b, a + b > 0))",
            "condition",
            "must not have recent_response_times within all, exists, exists_one, filter or map",
        ),
        ("[1, 2].all(a, [1, 2].all(b, true))", "condition", "must not have a list within all"),
        ("size(stale.map(a, a.split(a).map(b, b))) > 3", "condition", "must not have map within all"),
        ("stale.exists(a, a.matches('b'))", "condition", "must not have matches within all"),
        ("size([1].map(a, [a, a])) > 0", "condition", "must not have a list within all"),
        ("[1].all(a, a" + " + 1" * 60 + " > 0)", "condition", "must have at most 200 characters within all"),
        (
            " && ".join(["[1].all(a, a > 0)"] * 5),
            "condition",
            "at most 4 of all, exists, exists_one, filter and map, got 5",
        ),
        (
            " && ".join(["app_id.matches('a')"] * 5),
            "condition",
            "must have at most 4 calls of matches, got 5",
        ),
        (
            "size(recent_response_times + recent_response_times + stale) > 3",
            "condition",
            "must have at most 2 uses of recent_response_times or stale, got 3",
        ),
        ("recent_response_times[0] > 1", "condition", "mixes types: Unexpected type: got 'double'"),
    ],
)
def test_a_mistake_is_told_when_the_rule_is_read(text: str, kind: Kind, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is what is looked at
        Expression(text, kind)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "recent_response_times.exists(t, t > slo_seconds) && !('service_time' in stale)",
        "recent_response_times.filter(t, t > 60.0).map(t, t * 2.0).exists(t, t > (1.0 + 2.0) * 3.0)",
        "'recent_response_times.all(a, [1].all(b, true))' != app_id",
        "stale.exists(s, s == 'service_time' || s.startsWith('messages'))",
    ],
)
def test_what_ends_soon_is_not_refused(text: str) -> None:
    Expression(text, "condition")


def test_the_most_expensive_expression_ends_soon() -> None:
    """Nested macros ran for minutes, in which the monitor decided nothing; this one takes a moment."""
    times = "(recent_response_times + recent_response_times)"
    loops = ".map(t, t)"
    scope = Scope()
    scope.look({**dict.fromkeys(VARIABLES), "recent_response_times": [1.0] * RECENT_REPORTS})
    assert Expression(f"{times}{loops}.all(t, t > 0)", "condition").value(scope) is True


@pytest.mark.parametrize(
    ("text", "values", "why"),
    [
        ("p95 > 30", {"p95": None}, "p95 is not known"),
        ("p95 == 30", {"p95": None}, "p95 is not known"),
        ("p95 != 30", {"p95": None}, "p95 is not known"),
        ("!(p95 in [30])", {"p95": None}, "p95 is not known"),
        ("p95 > 30 && p99 > 30", {"p95": None, "p99": None}, "p95 and p99 are not known"),
        ("failures / throughput > 1", {"failures": 3.0, "throughput": 0.0}, "divides by zero"),
        ("max(p95, 1) > 30", {"p95": None}, "p95 is not known"),
        ("int(failures) % int(throughput) == 0", {"failures": 3.0, "throughput": 0.0}, "divides by zero"),
    ],
)
def test_what_cannot_be_told_says_why(text: str, values: dict[str, Any], why: str) -> None:
    with pytest.raises(ArithmeticError) as caught:
        told(text, **values)
    assert why in str(caught.value)


def test_a_guard_before_a_division_spares_it() -> None:
    """As CEL has it: false && error is false, on either side."""
    text = "throughput > 0 && failures / throughput > 1"
    assert told(text, failures=3.0, throughput=0.0) is False


def test_a_division_by_zero_is_not_infinity() -> None:
    """CEL's doubles divide by zero to infinity, which is above every limit: the rule would fire."""
    with pytest.raises(ArithmeticError):
        told("failures / throughput > 0.5", failures=3.0, throughput=0.0)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_an_amount_that_is_no_finite_number_cannot_be_told(value: float) -> None:
    with pytest.raises(ArithmeticError):
        told("p95 * 2", "amount", p95=value)


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    with pytest.raises(SettingsError, match=r"needs the extra rules"):
        Expression("p95 > 30", "condition")


def test_who_has_no_rules_does_not_pay_for_the_library() -> None:
    """Its import takes a good part of a second."""
    code = "import sys, upswell.policies.registry; sys.exit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_value_that_gets_lost_is_not_remembered() -> None:
    scope, condition = Scope(), Expression("p95 > 30", "condition")
    scope.look({"p95": 31.0})
    assert condition.value(scope) is True
    scope.look({"p95": None})
    with pytest.raises(ArithmeticError):
        condition.value(scope)
    scope.look({"p95": 29.0})
    assert condition.value(scope) is False
