"""CEL as the rules read it: doubles everywhere, no division by zero."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.policies.rules.cel import bound_names, with_doubles


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("p95 > 30", "p95 > 30.0"),
        ("2*p95 > 1e3 + 0.5", "2.0*p95 > 1e3 + 0.5"),
        ("v2 > 2", "v2 > 2.0"),
        ("a / b", "a / nonzero(b)"),
        ("a / b / 2", "a / nonzero(b) / nonzero(2.0)"),
        ("a / -b * c", "a / nonzero(-b) * c"),
        ("a / (b - 1) > 2", "a / nonzero((b - 1.0)) > 2.0"),
        ("a/(b/c)", "a/nonzero((b/nonzero(c)))"),
        ("a / max(b, 1).c[d] + 1", "a / nonzero(max(b, 1.0).c[d]) + 1.0"),
        ("a / b // c / 2", "a / nonzero(b)"),
        ("app_id == 'a/2' || app_id == \"3 / 4\"", "app_id == 'a/2' || app_id == \"3 / 4\""),
        (r"app_id.matches(r'\d/2')", r"app_id.matches(r'\d/2')"),
        ("app_id == 'it\\'s 2'", "app_id == 'it\\'s 2'"),
        ("0x1F + 1u", "0x1F + 1u"),
        ("a /\n  b", "a /\n  nonzero(b)"),
    ],
)
def test_whole_numbers_become_doubles_and_divisors_are_checked(text: str, read: str) -> None:
    assert "".join(with_doubles(text).split()) == "".join(read.split()), "spaces do not matter"


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    """What is not CEL is the compiler's to refuse, with its own message; some words are refused here."""
    try:
        with_doubles(text)
    except ValueError as error:
        assert "null" in str(error) or "in CEL" in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p95 > 3 and reports > 1", "writes 'and', which in CEL is &&"),
        ("p95 > 3 or reports > 1", "writes 'or', which in CEL is ||"),
        ("not known(p95)", "writes 'not', which in CEL is !"),
    ],
)
def test_a_word_of_another_language_is_answered_with_cels_own(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        with_doubles(text)


def test_a_text_may_have_such_a_word_in_quotes() -> None:
    assert with_doubles("app_id == 'this and that'") == "app_id == 'this and that'"


@given(st.text(alphabet="ab()[]{}/-.!,'\"1", max_size=40))
def test_a_text_without_division_and_whole_numbers_stays_as_it_is(text: str) -> None:
    if "/" not in text and "1" not in text:
        assert with_doubles(text).replace(" ", "") == text


def test_names_that_a_macro_binds_are_told() -> None:
    assert bound_names("xs.exists(t, t > 3) || ys.map( u , u)[0] > max(a, b)") == {"t", "u"}
