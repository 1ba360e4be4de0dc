from __future__ import annotations

import pytest

from support.snapshots import ordinary
from upswell.cli.contenders import CONTENDERS, choose, choose_all
from upswell.errors import SettingsError
from upswell.policies.keda import KedaPolicy


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_policy_can_be_made_and_decides(name: str) -> None:
    policy = choose(name).policy(interval=2.0, max_workers=10, mean_service=3.0)
    assert policy.decide(ordinary()).reason


def test_a_number_after_the_colon_reaches_the_policy() -> None:
    choice = choose(" keda:5")
    assert choice.text == "keda:5"
    assert isinstance(choice.policy(interval=2.0, max_workers=10, mean_service=3.0), KedaPolicy)
    assert choice.note == ""
    assert choose("keda").note == "20 messages"
    constant = choose("constant:7").policy(interval=2.0, max_workers=10, mean_service=3.0)
    assert constant.decide(ordinary()).desired_workers == 7


def test_all_means_all_and_a_name_twice_is_one() -> None:
    assert [choice.text for choice in choose_all("all")] == list(CONTENDERS)
    assert [choice.text for choice in choose_all("keda,keda:5,keda")] == ["keda", "keda:5"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("kedda", "policy must be one of slo, .*judoscale.*got 'kedda'; did you mean keda"),
        ("", "policy must be one of"),
        ("flink:3", "policy flink takes no number, got 'flink:3'"),
        ("keda:0", "messages a worker must be a number > 0, got '0'"),
        ("keda:nan", "must be a number > 0"),
        ("constant:2.5", "workers must be a whole number > 0, got '2.5'"),
    ],
)
def test_what_is_no_policy_is_refused_with_those_there_are(text: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        choose(text)
