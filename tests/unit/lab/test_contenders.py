from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.snapshots import ordinary
from upswell.errors import SettingsError
from upswell.lab.contenders import CONTENDERS, Facts, choose, choose_all
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.table import POLICIES, bare_policy_for
from upswell.settings import Settings
from upswell.simulator.rehearsed_policy import RehearsedPolicy

if TYPE_CHECKING:
    from upswell.policies import ScalingPolicy


RULES = str(Path(__file__).parents[3] / "examples/rules/threshold.toml")
SETTINGS = Settings(min_workers=0, max_workers=10, rules_file=RULES)


def made(text: str, **options: Any) -> ScalingPolicy:
    return choose(text).policy(SETTINGS, mean_service=3.0, **options)


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("in_wrappers", [False, True])
def test_every_policy_can_be_made_and_decides(name: str, in_wrappers: bool) -> None:
    assert made(name, in_wrappers=in_wrappers).decide(ordinary()).reason


def test_the_names_are_those_of_the_monitors_table() -> None:
    assert sorted(CONTENDERS) == sorted(POLICIES)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_tried_is_what_the_monitor_runs(name: str) -> None:
    settings = replace(SETTINGS, policy=name)
    tried = CONTENDERS[name].make(Facts(settings=settings, mean_service=3.0))
    tried = tried.policy if isinstance(tried, RehearsedPolicy) else tried
    assert type(tried) is type(bare_policy_for(settings, "e1"))


def test_rules_guard_a_policy_and_are_asked_for_where_there_are_none() -> None:
    assert choose("keda:5+rules").text == "keda:5+rules"
    reason = made("constant:3+rules").decide(ordinary(recent_response_times=(1e3,))).reason
    assert "always 3 workers; rule slow" in reason
    for name in ("rules", "slo+rules"):
        with pytest.raises(SettingsError, match="needs --rules-file"):
            choose(name).policy(Settings(), mean_service=3.0)


def test_a_number_after_the_colon_reaches_the_policy() -> None:
    choice = choose(" keda:5")
    assert choice.text == "keda:5"
    assert isinstance(made("keda:5"), KedaPolicy)
    assert choice.note == ""
    assert choose("keda").note == "20 messages"
    assert made("constant:7").decide(ordinary()).desired_workers == 7


def test_all_means_all_and_a_name_twice_is_one() -> None:
    names = [choice.text for choice in choose_all("all", with_rules=True)]
    assert names == list(CONTENDERS)
    assert [choice.text for choice in choose_all("all")] == [name for name in names if name != "rules"]
    assert [choice.text for choice in choose_all("keda,keda:5,keda")] == ["keda", "keda:5"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("kedda", "policy must be one of slo, .*judoscale.*got 'kedda'; did you mean keda"),
        ("", "policy must be one of"),
        ("flink:3", "policy flink takes no number, got 'flink:3'"),
        ("rules+rules", "policy rules is not guarded by itself"),
        ("keda:0", "messages a worker must be a number > 0, got '0'"),
        ("keda:nan", "must be a number > 0"),
        ("constant:2.5", "workers must be a whole number > 0, got '2.5'"),
    ],
)
def test_what_is_no_policy_is_refused_with_those_there_are(text: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        choose(text)
