"""Rules at work: actions, priorities, cooldowns, what cannot be judged, alone and as a guard."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.sentence import told
from upswell.analysis.snapshot import Snapshot, Workers
from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.guards.stabilization import Stabilization
from upswell.policies.guards.tolerance import Tolerance
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesGuard, RulesPolicy
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.policies.threshold import ThresholdPolicy
from upswell.settings import Slo
from upswell.testing.snapshots import constant_time, ordinary, snapshots


def alone(text: str) -> RulesPolicy:
    return RulesPolicy(parse("my.toml", text))


def guard(text: str, wanted: int) -> Guarded:
    return Guarded(ConstantPolicy(wanted), RulesGuard(parse("my.toml", text)))


def rule(action: str, name: str = "calm", when: str = "true", **more: object) -> str:
    lines = [f"[rules.{name}]", f'when = "{when}"', action, *(f"{key} = {more[key]!r}" for key in more)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("action", "desired", "phrase"),
    [
        ("set = 5", 5, "set 5"),
        ("add = 2", 6, "+2"),
        ("add = -3", 1, "-3"),
        ("add = -9", 0, "-9"),
        ("multiply = 1.5", 6, "x 1.5"),
        ("multiply = 1.1", 5, "x 1.1"),
        ("at_least = 7", 7, "at least 7"),
        ("at_least = 3", 4, "at least 3"),
        ("at_most = 3", 3, "at most 3"),
        ("at_most = 9", 4, "at most 9"),
        ("hold = true", 4, "hold 4"),
        ('set = "current + arrival_rate / 4"', 5, "set 4.5"),
        ('set = "1e300"', 1_000_000, "set 1e+300"),
    ],
)
def test_each_action_changes_the_number_and_says_how(action: str, desired: int, phrase: str) -> None:
    decision = alone(rule(action)).decide(ordinary(current=4))
    assert decision.desired_workers == desired
    assert phrase in decision.reason
    assert not decision.held


def test_a_firing_is_explained_with_its_numbers() -> None:
    text = rule("add = 1", name="slow", when="p95 > slo_seconds", because="users wait")
    decision = alone(text).decide(ordinary(current=4, response_time=constant_time(31.25)))
    assert decision.reason == (
        "scale out 4 → 5: rule slow: p95 > slo_seconds (p95 31.2, slo_seconds 30), because users wait: +1"
    )
    assert decision.inputs == {"p95": 31.25, "slo_seconds": 30.0, "amount": 1.0}
    assert decision.rejected == ()


def test_a_rule_that_does_not_fire_stands_among_the_rejected_with_its_numbers() -> None:
    decision = alone(rule("add = 1", when="p95 > 30")).decide(ordinary(current=4))
    assert decision.desired_workers == 4
    assert decision.reason == "hold 4: none of 1 rule fires"
    assert [told(option) for option in decision.rejected] == ["rule calm does not fire: p95 2"]


def test_the_highest_priority_has_the_last_word() -> None:
    text = rule("at_most = 3", name="cap", priority=10) + rule("set = 9", name="more")
    assert alone(text).decide(ordinary(current=4)).desired_workers == 3
    text = rule("at_most = 3", name="cap") + rule("set = 9", name="more", priority=10)
    assert alone(text).decide(ordinary(current=4)).desired_workers == 9


def test_after_a_firing_a_rule_cools_down() -> None:
    policy = alone(rule("add = 1", cooldown="10s"))
    wanted = [policy.decide(ordinary(current=4, at=1000.0 + 2 * step)) for step in range(6)]
    assert [decision.desired_workers for decision in wanted] == [5, 4, 4, 4, 4, 5]
    assert [told(option) for option in wanted[2].rejected] == ["rule calm cools down for 6 s more"]


def test_an_unknown_signal_holds_and_says_so() -> None:
    decision = alone(rule("set = 1", when="p95 < 30")).decide(ordinary(current=4, response_time=None))
    assert decision.held
    assert decision.reason == "hold 4: rule calm cannot be judged, p95 is not known: no scale-in below 4"


def test_a_stale_signal_is_not_known() -> None:
    stale = ordinary(current=4, stale=("service_time",))
    assert alone(rule("set = 1", when="service_time < 30")).decide(stale).held


def test_a_division_by_zero_holds_and_says_so() -> None:
    policy = alone(rule("set = 9", when="failures / throughput > 0.5"))
    decision = policy.decide(ordinary(current=4, failures=3, throughput=0.0))
    assert decision.held
    assert "failures / throughput > 0.5 divides by zero" in decision.reason


def test_an_unknown_amount_holds_and_says_so() -> None:
    decision = alone(rule('set = "arrival_rate"')).decide(ordinary(current=4, arrival_rate=None))
    assert decision.held
    assert "arrival_rate is not known" in decision.reason


def test_what_cannot_be_judged_stops_fewer_workers_and_not_more() -> None:
    unknown = rule("set = 1", name="blind", when="p95 < 30")
    seen = ordinary(current=4, response_time=None)
    assert guard(unknown, wanted=2).decide(seen).desired_workers == 4
    assert guard(unknown, wanted=9).decide(seen).desired_workers == 9
    help_comes = alone(unknown + rule("add = 3", name="more")).decide(seen)
    assert help_comes.desired_workers == 7
    assert not help_comes.held


def test_a_lost_signal_breaks_what_must_hold_without_a_break() -> None:
    policy = alone(rule("set = 1", when="p95 < 30", held_for="10s"))
    known, lost = ordinary(current=4), ordinary(current=4, response_time=None)
    story = [known, known, lost, known, known, known]
    wanted = [
        policy.decide(replace(seen, at=1000.0 + 5 * step)).desired_workers for step, seen in enumerate(story)
    ]
    assert wanted == [4, 4, 4, 4, 4, 1]


def test_a_hole_in_the_stream_longer_than_window_and_pattern_breaks_it() -> None:
    """Nobody watched: that the condition is so before and after says nothing of the time between."""
    policy = alone(rule("set = 1", held_for="90s"))
    wanted = [policy.decide(ordinary(current=4, at=at)).desired_workers for at in (0, 89, 180, 269, 270)]
    assert wanted == [4, 4, 4, 4, 1]


def test_when_time_goes_back_memory_begins_anew() -> None:
    policy = alone(rule("set = 1", held_for="20s"))
    wanted = [policy.decide(ordinary(current=4, at=at)).desired_workers for at in (100, 120, 50, 60, 70)]
    assert wanted == [4, 1, 4, 4, 1]


def test_rules_see_what_the_guarded_policy_wants() -> None:
    policy = guard(rule('set = "max(wanted, current - 1)"', when="wanted < current"), wanted=1)
    decision = policy.decide(ordinary(current=4))
    assert decision.desired_workers == 3
    assert decision.reason == (
        "scale in 4 → 3: always 1 worker; rule calm: wanted < current (current 4, wanted 1): set 3"
    )
    assert decision.wanted == 3, "the user's own rules are part of what is needed"


def test_a_guard_whose_rules_are_silent_leaves_the_decision_as_it_is() -> None:
    seen = ordinary(messages_ready=300)
    book = parse("my.toml", rule("add = 1", when="p95 > 1000"))
    assert Guarded(SloFormulaPolicy(), RulesGuard(book)).decide(seen) == SloFormulaPolicy().decide(seen)


def test_a_guard_keeps_the_hold_of_a_blind_policy() -> None:
    blind = ordinary(current=4, messages_ready=None)
    book = parse("my.toml", rule("at_least = 2"))
    decision = Guarded(SloFormulaPolicy(), RulesGuard(book)).decide(blind)
    assert decision.held
    assert decision.desired_workers == 4


def test_time_of_day_is_the_snapshots_in_the_files_timezone() -> None:
    """1767596400 is Monday 5 January 2026, 07:00 UTC: 09:00 in Helsinki, 02:00 in New York."""
    seen = ordinary(at=1767596400.0)
    when = "weekday == 1 && hour == {} && minute == 0 && day == 5 && month == 1"
    for zone, hour in (("UTC", 7), ("Europe/Helsinki", 9), ("America/New_York", 2)):
        text = f'timezone = "{zone}"\n' + rule("set = 7", when=when.format(hour))
        assert alone(text).decide(seen).desired_workers == 7, zone


def test_daylight_saving_moves_the_hours_with_the_people() -> None:
    """08:30 in Helsinki is 06:30 UTC in January and 05:30 UTC in July (1783315800 is Monday 6 July 2026)."""
    text = 'timezone = "Europe/Helsinki"\n' + rule(
        "set = 7", when="weekday == 1 && hour == 8 && minute == 30"
    )
    for at in (1767594600.0, 1783315800.0):
        assert alone(text).decide(ordinary(at=at)).desired_workers == 7


MANY = (
    rule("set = 3", name="calm", when="p95 < 20 && messages_ready == 0", held_for="10s")
    + rule('add = "slow_reports"', name="slow", when="slow_reports > 0", cooldown="4s")
    + rule("multiply = 2", name="deep", when="queue_depth / workers_ready > 10", priority=3)
    + rule("hold = true", name="freeze", when="failure_share > 0.5", priority=9)
    + rule('at_least = "ceil(offered_load / slots_per_worker)"', name="load", when="offered_load > 1")
    + '[rules.up]\nrising = "messages_ready"\nby = 50\nwithin = "8s"\nadd = 2\n'
    + '[rules.count]\ncount = "failures"\nreaches = 100\nwithin = "1min"\nat_most = 20\npriority = 5\n'
    + rule("at_least = 2", name="seq", when="queue_depth > 9", followed_by="queue_depth < 9", within="1min")
    + rule('at_least = "current"', name="flap", when="wanted < current", times=3, within="1min")
    + rule("set = 1", name="idle", when="queue_depth > 0", absent_for="30s")
    + rule("at_least = 5", name="lately", when="arrival_rate > 100", within="20s")
)  # fmt: skip


def later(seen: list[Snapshot]) -> list[Snapshot]:
    return [replace(snapshot, at=1000.0 + 2 * number) for number, snapshot in enumerate(seen)]


stories = st.lists(snapshots(), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)  # a story is several snapshots long
@given(story=stories)
def test_the_same_snapshots_give_the_same_decisions(story: list[Snapshot]) -> None:
    one, other = alone(MANY), alone(MANY)
    assert [one.decide(seen) for seen in later(story)] == [other.decide(seen) for seen in later(story)]


@settings(max_examples=40, deadline=None)  # a story is several snapshots long
@given(story=stories, low=st.integers(0, 5), more=st.integers(0, 40))
def test_wrapped_rules_stay_within_the_bounds(story: list[Snapshot], low: int, more: int) -> None:
    book = parse("my.toml", MANY)
    for inner in (None, ThresholdPolicy()):
        guards = Stabilization(60.0), Tolerance(0.1, low), Bounds(low, low + more)
        policy = Guarded(inner, RulesGuard(book), *guards) if inner else Guarded(RulesPolicy(book), *guards)
        for seen in later(story):
            assert low <= policy.decide(seen).desired_workers <= low + more


@settings(max_examples=40, deadline=None)  # a story is several snapshots long
@given(story=stories)
def test_no_decision_without_its_sentence(story: list[Snapshot]) -> None:
    book = parse("my.toml", MANY)
    for policy in (RulesPolicy(book), Guarded(ThresholdPolicy(), RulesGuard(book))):
        for seen in later(story):
            decision = policy.decide(seen)
            assert decision.reason
            assert decision.desired_workers >= 0
            assert all(math.isfinite(number) for number in decision.inputs.values())


@given(current=st.integers(0, 200), at=st.floats(0, 1e10), warming_up=st.booleans())
def test_without_any_signal_rules_hold(current: int, at: float, warming_up: bool) -> None:
    blind = Snapshot(
        app_id="e123456",
        at=at,
        slo=Slo(0.95, 30.0),
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=current),
        warming_up=warming_up,
    )
    decision = alone(MANY).decide(blind)
    assert decision.held
    assert decision.desired_workers == current


@given(snapshot=snapshots(), wanted=st.integers(0, 100))
def test_missing_data_never_means_fewer_workers_than_run(snapshot: Snapshot, wanted: int) -> None:
    """Whatever else is seen: where a rule that could scale in cannot be judged, nobody goes."""
    blind = replace(snapshot, messages_ready=None)
    text = rule("set = 0", name="idle", when="messages_ready == 0") + rule("add = 1", when="failures > 5")
    for policy in (alone(text), guard(text, wanted)):
        assert policy.decide(blind).desired_workers >= blind.workers.desired
