"""The registry of policies, and what stands around each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from upswell.analysis.snapshot import Workers
from upswell.errors import SettingsError
from upswell.policies.registry import REGISTRY, policy_for
from upswell.settings import SETTINGS, Settings, load
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = '[rules.floor]\nwhen = "true"\nat_least = 4\n'


def test_an_unknown_policy_lists_the_known_ones_and_suggests_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        policy_for(Settings(policy="treshold"))
    assert str(caught.value) == (
        "policy must be one of slo, slo_formula, threshold, elasticity_control, constant, "
        "keda, knative, aws_backlog, dask_adaptive, celery_autoscale, flink, judoscale, rules, "
        "or package.module:name, got 'treshold'; did you mean threshold?"
    )


def test_the_setting_is_described_with_every_policy_that_there_is() -> None:
    described = SETTINGS["policy"].text
    assert all(re.search(rf"\b{name}\b", described) for name in REGISTRY.names())


def lull(settings: Settings) -> int:
    """Return what is decided when all work has ended, the objective's time after much of it."""
    policy = policy_for(settings)
    number = 4
    for at, waiting in ((1000.0, 60), *((1000.0 + 2 * n, 0) for n in range(1, 16))):
        workers = Workers(desired=number, ready=number)
        snapshot = ordinary(at=at, workers=workers, messages_ready=waiting, messages_unacknowledged=0)
        number = policy.decide(replace(snapshot, arrival_rate=0.0, start_delay=1.0)).desired_workers
    return number


def test_slo_keeps_workers_by_its_own_memory_unless_a_window_is_asked_for() -> None:
    assert lull(Settings()) == 1
    assert lull(Settings(stabilization_window=60.0)) > 1
    assert lull(Settings(policy="slo_formula")) > 1
    assert lull(Settings(policy="slo_formula", stabilization_window=0.0)) == 1


def test_slo_makes_small_changes_unless_a_tolerance_is_asked_for() -> None:
    def decided(**own: Any) -> int:
        snapshot = ordinary(
            current=100,
            messages_ready=0,
            messages_unacknowledged=4,
            slots_per_worker=1,
            slots=100,
            workers=Workers(desired=100, ready=100, busy=95),
        )
        policy = policy_for(Settings(max_workers=500, **own))
        policy.decide(snapshot)  # the number found at first counts as a wish
        return policy.decide(replace(snapshot, at=snapshot.at + 2)).desired_workers

    assert decided() == 95
    assert decided(tolerance=0.2) == 100


def test_a_policy_comes_inside_bounds_tolerance_and_stabilisation() -> None:
    policy = policy_for(Settings(policy="slo", max_workers=5))
    decision = policy.decide(ordinary(messages_ready=1000))
    assert decision.desired_workers == 5
    assert "limited to max_workers 5" in decision.reason


def test_rules_without_a_file_are_refused() -> None:
    with pytest.raises(SettingsError, match='policy = "rules" needs rules_file'):
        policy_for(Settings(policy="rules"))


def test_a_rules_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    with pytest.raises(SettingsError) as caught:
        policy_for(Settings(policy="rules", rules_file=missing))
    assert missing in str(caught.value)


def test_a_rules_file_with_another_policy_guards_it(tmp_path: Path) -> None:
    file = tmp_path / "floor.toml"
    file.write_text(FLOOR)
    decision = policy_for(Settings(policy="slo", rules_file=str(file))).decide(ordinary())
    assert decision.desired_workers == 4
    assert "4 uploads running" in decision.reason, "the guarded policy's sentence stays"
    assert "rule floor: true: at least 4" in decision.reason


def test_bounds_have_the_last_word_over_rules(tmp_path: Path) -> None:
    file = tmp_path / "floor.toml"
    file.write_text(FLOOR)
    for name in ("rules", "slo"):
        policy = policy_for(Settings(policy=name, rules_file=str(file), max_workers=3))
        assert policy.decide(ordinary()).desired_workers == 3


def test_each_application_may_have_rules_of_its_own(tmp_path: Path) -> None:
    rules, settings_file = tmp_path / "floor.toml", tmp_path / "upswell.toml"
    rules.write_text(FLOOR)
    settings_file.write_text(f'[apps.a]\nrules_file = "{rules}"\n[apps.b]\n')
    settings, _ = load(environment={}, file=settings_file)
    wanted = {app: policy_for(settings.for_app(app)).decide(ordinary()).desired_workers for app in ("a", "b")}
    assert wanted == {"a": 4, "b": 2}


def test_a_policys_own_table_sets_its_constants_and_an_application_may_override_it() -> None:
    table = Settings(policy="keda", policies={"keda": {"queue_length": 5}}, max_workers=500)
    waiting = ordinary(current=1, messages_ready=100, messages_unacknowledged=0)
    step = policy_for(table).decide(waiting).steps[0]
    assert (step.inputs["target"], step.after) == (5.0, 20)
    assert policy_for(Settings(policy="keda")).decide(waiting).steps[0].inputs["target"] == 20.0
