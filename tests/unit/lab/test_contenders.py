from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.lab.contenders import choose, choose_all
from upswell.policies.guarded import Guarded
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.registry import REGISTRY, bare_policy, policy_for
from upswell.settings import Settings
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from upswell.policies import ScalingPolicy


MINE = """
from upswell.analysis.decision import Decision

class OnePerTen:
    def decide(self, snapshot):
        uploads = snapshot.queue_depth
        workers = -(-uploads // 10)
        why = "{uploads:upload}, ten a worker = {workers:worker}"
        inputs = {"uploads": uploads, "workers": workers}
        return Decision.of("mine", snapshot.workers.desired, workers, why, inputs)
"""
RULES = str(Path(__file__).parents[3] / "examples/rules/threshold.toml")
SETTINGS = Settings(min_workers=0, max_workers=10, rules_file=RULES)


def made(text: str, **options: Any) -> ScalingPolicy:
    return choose(text).policy(SETTINGS, mean_service=3.0, **options)


@pytest.mark.parametrize("name", REGISTRY.names())
@pytest.mark.parametrize("in_wrappers", [False, True])
def test_every_policy_can_be_made_and_decides(name: str, in_wrappers: bool) -> None:
    assert made(name, in_wrappers=in_wrappers).decide(ordinary()).reason


@pytest.mark.parametrize("name", REGISTRY.names())
def test_what_is_tried_is_what_the_monitor_runs(name: str) -> None:
    tried = made(name)
    while isinstance(tried, Guarded | RehearsedPolicy):
        tried = tried.policy
    assert type(tried) is type(bare_policy(replace(SETTINGS, policy=name)))


def test_a_policy_of_ones_own_is_tried_by_its_place_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the monitor: `policy = "ownpolicy:OnePerTen"`, with no line anywhere else."""
    (tmp_path / "ownpolicy.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    tried = made("ownpolicy:OnePerTen").decide(ordinary(messages_ready=46))
    assert tried.reason == "scale out 2 → 5: 50 uploads, ten a worker = 5 workers"
    run = policy_for(Settings(policy="ownpolicy:OnePerTen")).decide(ordinary(messages_ready=46))
    assert run.reason == tried.reason


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
    assert choose("keda").note == "20 messages, over HTTP"
    assert made("constant:7").decide(ordinary()).desired_workers == 7


def test_all_means_all_and_a_name_twice_is_one() -> None:
    names = [choice.text for choice in choose_all("all", with_rules=True)]
    assert names == REGISTRY.names()
    assert [choice.text for choice in choose_all("all")] == [name for name in names if name != "rules"]
    assert [choice.text for choice in choose_all("keda,keda:5,keda")] == ["keda", "keda:5"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("kedda", "policy must be one of slo, .*judoscale.*got 'kedda'; did you mean keda"),
        ("", "policy must be one of"),
        ("flink:3", "policy flink takes no number, got 'flink:3'"),
        ("rules+rules", "policy rules cannot guard itself"),
        ("keda:0", "queue_length must be a number > 0, got '0'"),
        ("keda:nan", "must be a number > 0"),
        ("constant:2.5", "workers must be a whole number > 0, got '2.5'"),
    ],
)
def test_what_is_no_policy_is_refused_with_those_there_are(text: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        choose(text)
