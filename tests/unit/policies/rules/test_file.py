"""A rules file: what is read, and errors that name file, line and rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import SettingsError
from upswell.policies.rules.file import parse

RULE = '[rules.calm]\nwhen = "p95 < 10"\n'


def error(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse("my.toml", text)
    return str(caught.value)


def test_rules_are_applied_by_priority_then_in_the_order_of_the_file() -> None:
    names = {"a": 5, "b": 0, "c": 5, "d": -1}
    text = "".join(
        f'[rules.{name}]\nwhen = "true"\nhold = true\npriority = {priority}\n'
        for name, priority in names.items()
    )
    assert [rule.name for rule in parse("my.toml", text).rules] == ["d", "b", "a", "c"]


def test_the_same_text_is_compiled_once_for_all_applications() -> None:
    assert parse("my.toml", RULE + "add = 1") is parse("my.toml", RULE + "add = 1")


@pytest.mark.parametrize(
    ("duration", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5 min", 90), ("2h", 7200), ("1d", 86400)]
)
def test_durations_have_units(duration: str, seconds: float) -> None:
    assert parse("my.toml", f'{RULE}add = 1\ncooldown = "{duration}"').rules[0].cooldown == seconds


def test_a_duration_without_a_unit_is_in_seconds() -> None:
    assert parse("my.toml", f"{RULE}add = 1\ncooldown = 45").rules[0].cooldown == 45


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[rules.calm]\nwhen = p95", "my.toml, line 2, rule calm: must be TOML: Invalid value"),
        ("[rules.calm]\nadd = 1\n[rules.calm]\n", "my.toml, line 3, rule calm: must be TOML: Cannot declare"),
        ('x = """', "my.toml, line 1: must be TOML: "),
        ("", "my.toml, line 1: there must be at least one rule"),
        ("rules = 3", "my.toml, line 1: there must be at least one rule"),
        ("[rules]\ncalm = 3", "my.toml, line 2, rule calm: must be a table"),
        ("\nzone = 1\n" + RULE, "my.toml, line 2: unknown key: zone"),
        ("\ntimezone = 'Mars'\n", "my.toml, line 2: timezone must be a name of the time zone database"),
        ("timezone = '../../etc/passwd'\n", "line 1: timezone must be"),
        ("timezone = 3\n", "line 1: timezone must be"),
        (RULE + "ad = 1", "my.toml, line 3, rule calm: unknown key: ad; did you mean add?"),
        (RULE, "line 1, rule calm: must have one action of set, add, multiply, at_least, at_most, hold, got"),
        (RULE + "add = 1\nset = 3", "line 3, rule calm: must have one action"),
        ("[rules.calm]\nadd = 1", "line 1, rule calm: must say when"),
        ('[rules.calm]\nadd = 1\nwhen = "p95 >"', "line 3, rule calm: when must be CEL, got 'p95 >'"),
        ('[rules.calm]\nwhen = "pp95 > 1"\nadd = 1', "line 2, rule calm: when speaks of an unknown variable"),
        (RULE + 'add = "app_id"', "line 3, rule calm: add must be a number, but gives"),
        ("[rules.calm]\nwhen = true\nadd = 1", "line 2, rule calm: when must be CEL in quotes, got True"),
        (RULE + "add = true", "line 3, rule calm: add must be a number"),
        (RULE + "set = -1", "line 3, rule calm: set must be a number >= 0, got -1"),
        (RULE + "at_least = nan", "line 3, rule calm: at_least must be a number"),
        (RULE + "multiply = inf", "line 3, rule calm: multiply must be a number"),
        (RULE + "hold = false", "line 3, rule calm: hold must be true, got False"),
        (RULE + 'add = 1\nheld_for = "30 sec"', "line 4, rule calm: held_for must be a duration like"),
        (RULE + "add = 1\nheld_for = 0", "line 4, rule calm: held_for must be a duration"),
        (RULE + "add = 1\ncooldown = nan", "line 4, rule calm: cooldown must be a duration"),
        (RULE + 'add = 1\ncooldown = "32d"', "at most 31d, got '32d'"),
        (RULE + 'add = 1\nheld_for = "1s"\nabsent_for = "1s"', "line 5, rule calm: must have one pattern"),
        (RULE + "add = 1\ntimes = 3", "line 4, rule calm: times needs within besides"),
        (RULE + "add = 1\ntimes = 0\nwithin = 9", "line 4, rule calm: times must be a whole number from 1"),
        (RULE + "add = 1\ntimes = 2.5\nwithin = 9", "times must be a whole number"),
        (RULE + 'add = 1\nheld_for = "1s"\nwithin = "9s"', "line 5, rule calm: within does not go"),
        (RULE + "add = 1\nby = 3", "line 4, rule calm: by does not go with a plain condition"),
        ('[rules.up]\nrising = "p95"\nwithin = 60\nadd = 1', "line 2, rule up: rising needs by besides"),
        ('[rules.up]\nrising = "p95 > 3"\nby = 2\nwithin = 60\nadd = 1', "line 2, rule up: rising must be"),
        ('[rules.up]\nrising = "p95"\nby = 0\nwithin = 60\nadd = 1', "line 3, rule up: by must be a"),
        (RULE + "add = 1\npriority = 1.5", "line 4, rule calm: priority must be a whole number"),
        (RULE + "add = 1\nbecause = 7", "line 4, rule calm: because must be a text"),
        ('[rules."a b"]\nwhen = "true"\nadd = 1', "line 1, rule a b: its name must be"),
        ('rules.calm.when = "p95 >"\nrules.calm.add = 1', "line 1, rule calm: when must be CEL"),
        ('[rules.a]\nwhen = "true"\nadd = 1\n\n' + RULE + "ad = 1", "line 7, rule calm: unknown key"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_the_line_and_the_rule(text: str, told: str) -> None:
    assert told in error(text)


def test_the_line_is_found_behind_a_condition_of_several_lines() -> None:
    """What stands in the text may look like a header or a key."""
    text = '[rules.a]\nwhen = """\n[1, 2].exists(t, t > 1)\n&& p95 > 3"""\nadd = 1\nad = 2\n'
    assert "my.toml, line 6, rule a: unknown key: ad" in error(text)


def test_too_many_rules_are_refused() -> None:
    text = "".join(f'[rules.r{number}]\nwhen = "true"\nadd = 1\n' for number in range(101))
    assert "at most 100 rules, got 101" in error(text)


keys = st.sampled_from(
    ["when", "add", "set", "multiply", "at_least", "at_most", "hold", "held_for", "within", "absent_for",
     "times", "followed_by", "rising", "by", "count", "reaches", "priority", "cooldown", "because", "what"]
)  # fmt: skip
values = st.sampled_from(
    ["1", "-3", "2.5", "nan", "inf", "true", '"30s"', '"p95 > 3"', '"current"', '""', "[]", "{a = 1}", '"/"',
     "1979-05-27", '"a / b"', "99999999999999999999", '"messages_ready / p95"', '"!"']
)  # fmt: skip


@given(table=st.dictionaries(keys, values, max_size=6))
def test_whatever_a_rule_says_it_is_read_or_refused_in_a_sentence(table: dict[str, str]) -> None:
    text = "[rules.any]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    try:
        book = parse("my.toml", text)
    except SettingsError as error:
        assert str(error).startswith("my.toml, line ")  # noqa: PT017 - either outcome is right
    else:
        assert len(book.rules) == 1
