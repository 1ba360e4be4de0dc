"""Every sentence can be recomputed: the numbers that it states give the number of workers that it claims."""

from __future__ import annotations

import math
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from upswell.analysis import queueing
from upswell.analysis.decision import Decision, Inputs, Step
from upswell.analysis.sentence import sentence, told
from upswell.policies import constant, elasticity_control, threshold
from upswell.policies.guards import bounds, fail_static, stabilization, step_limits, tolerance
from upswell.policies.peers import (
    aws_backlog,
    celery_autoscale,
    dask_adaptive,
    flink,
    hpa,
    judoscale,
    keda,
    knative,
)
from upswell.policies.registry import REGISTRY, policy_for
from upswell.policies.slo import slo, slo_formula
from upswell.settings import Settings
from upswell.testing.snapshots import later, snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDING = 1e-9
POLICIES = REGISTRY.names()
RULES = str(Path(__file__).parents[2] / "examples/rules/threshold.toml")
few = settings(max_examples=40, deadline=None)


def workers(inputs: Inputs, slots: float, rounding: float = ROUNDING, least: int = 0) -> int:
    """Return the workers that slots take, both rounded up, as the sentences say."""
    slots = max(least, math.ceil(slots - rounding))
    if "one_more" not in inputs:
        return math.ceil(slots / inputs["slots_per_worker"])
    more = max(0, slots - inputs["present"])
    there = (slots - more) * inputs["ready"] / inputs["present"] if inputs["present"] else 0
    return math.ceil(there + more / inputs["one_more"] - rounding)


def work(i: Inputs) -> float:
    return i.get("queued", 0) * i.get("work_each", 0) + i.get("running", 0) * i.get("work_left", 0)


def backlog(why: str) -> Callable[[Step, Inputs], float]:
    if why == "backlog":
        return lambda _, i: workers(i, work(i) / i["horizon"])
    if why == "foresight":
        return lambda _, i: workers(i, (work(i) - i["done"]) / i["rest"])
    return lambda _, i: workers(i, i.get("queued", 0) + i.get("running", 0))


def capacity(i: Inputs) -> float:
    return i["rate"] / i["utilisation"] + i["lag"] / i["catch_up"] + i["rate"] * i["restart"] / i["catch_up"]


def erlang(_: Step, i: Inputs) -> float:
    load = i["rate"] * i["service_time"]
    slots = queueing.slots_needed(load, i["service_time"], i["wait"], i["late"]) if load > 0 else 0
    return workers(i, slots)


def same(step: Step, _: Inputs) -> float:
    return step.before


def kept(name: str) -> Callable[[Step, Inputs], float]:
    """Return what a floor leaves: the input, or the number at first where that is smaller."""
    return lambda step, i: max(step.before, i[name])


AFTER: dict[str, Callable[[Step, Inputs], float]] = {
    **{template: backlog(key[2]) for key, template in slo.BACKLOG.items()},
    **{
        template: lambda _, i: workers(i, i["load"] + i.get("beta", 0) * math.sqrt(i["load"]))
        for template in slo.STREAM.values()
    },
    slo.NOTHING: lambda *_: 0,
    slo.MOST_NEEDED: kept("most"),
    slo.BUSY: kept("busy"),
    slo.LAST_ONE: lambda *_: 1,
    slo_formula.STREAM: erlang,
    slo_formula.RETRIES: erlang,
    slo_formula.BACKLOG: lambda _, i: workers(i, i["in_system"] * i["service_time"] / i["budget"], 0, 1),
    slo_formula.BACKLOG_LATE: lambda _, i: workers(
        i, (i["in_system"] * i["service_time"] - i["present"] * i["start_delay"]) / i["rest"], 0, 1
    ),
    slo_formula.BACKLOG_EACH: lambda _, i: workers(i, i["in_system"]),
    constant.ALWAYS: lambda _, i: i["workers"],
    threshold.SLOW: lambda step, i: step.before + i["slow"],
    threshold.CALM: lambda step, _: max(0, step.before - 1),
    elasticity_control.NEEDED: lambda _, i: math.ceil(i["normal_time"] * i["requests"] / i["k"]),
    aws_backlog.CALM: same,
    aws_backlog.ABOVE: lambda step, i: max(step.before, math.ceil(i["backlog"] / i["target"])),
    aws_backlog.BELOW: lambda step, i: min(step.before, math.ceil(i["backlog"] / i["target"])),
    celery_autoscale.RESERVED: lambda _, i: workers(i, min(i["reserved"], i["most"])),
    dask_adaptive.OCCUPANCY: lambda _, i: min(
        i["tasks"], math.ceil(i["tasks"] * i["service_time"] / i["target"] / i["slots_per_worker"])
    ),
    dask_adaptive.NOTHING: lambda *_: 0,
    dask_adaptive.BUSY: kept("busy"),
    flink.FIRST: lambda *_: 1,
    flink.NEEDED: lambda _, i: math.ceil(capacity(i) / i["true_rate"]),
    judoscale.STAYS: same,
    judoscale.ABOVE: lambda step, _: step.before + 1,
    judoscale.BELOW: lambda step, _: max(0, step.before - 1),
    keda.COOLED: lambda *_: 0,
    keda.FIRST: lambda *_: 1,
    hpa.TARGET: lambda _, i: max(1, math.ceil(i["depth"] / i["target"])),
    hpa.WITHIN: same,
    hpa.MOST_NEEDED: kept("most"),
    hpa.MOST_WANTED: lambda _, i: i["most"],
    hpa.LIMITED: lambda _, i: i["limit"],
    knative.AVERAGE: lambda _, i: math.ceil(i["average"] / i["target"]),
    knative.RATES: lambda step, i: min(max(step.before, i["least"]), i["most"]),
    bounds.RAISED: lambda _, i: i["min_workers"],
    bounds.LIMITED: lambda _, i: i["max_workers"],
    bounds.ONE: lambda *_: 1,
    stabilization.MOST_NEEDED: kept("most"),
    step_limits.OUT: lambda _, i: max(i["current"] + 1, math.floor(i["current"] * i["factor"])),
    step_limits.IN: lambda _, i: min(i["current"] - 1, math.ceil(i["current"] * (1 - i["share"]))),
    tolerance.TOO_SMALL: lambda step, i: step.before - i["change"],
}
"""What the inputs of each template give; a floor gives at most the number that the decision found."""
FLOORS = {
    slo.MOST_NEEDED,
    slo.BUSY,
    slo.LAST_ONE,
    dask_adaptive.BUSY,
    hpa.MOST_NEEDED,
    stabilization.MOST_NEEDED,
}
TO_THE_PRESENT = {
    stabilization.WARMING_UP, fail_static.BACK, flink.WITHIN, celery_autoscale.YOUNG,
    celery_autoscale.NEVER_GREW, dask_adaptive.PROPOSED,
}  # fmt: skip
"""These lead back to the number that the decision found."""


def recompute(decision: Decision, step: Step) -> float | None:
    """Return the workers that a step's inputs give; None where its template claims no arithmetic."""
    if step.why in TO_THE_PRESENT:
        return decision.before
    rule = AFTER.get(step.why)
    if rule is None:
        return None
    after = rule(step, step.inputs)
    return min(decision.before, after) if step.why in FLOORS else after


def assert_it_holds(decision: Decision) -> None:
    assert decision.steps[-1].after == decision.desired_workers
    for before, after in zip(decision.steps, decision.steps[1:], strict=False):
        assert before.after == after.before, "each step begins where the one before ended"
    for step in decision.steps:
        named = {name for _, name, _, _ in Formatter().parse(step.why) if name}
        assert named == set(step.inputs), "no input is hidden, none is missing"
        after = recompute(decision, step)
        assert after is None or after == step.after, told(step)
    assert str(decision.desired_workers) in sentence(decision).split(":")[0]


STACKS = {
    "bare": {"stabilization_window": 0.0, "tolerance": 0.0, "bottleneck_check": False},
    "all guards": {
        "max_scale_out_factor": 2.0,
        "max_scale_in_share": 0.25,
        "tolerance": 0.1,
        "stabilization_window": 30.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", POLICIES)
@few
@given(seen=st.lists(snapshots(), min_size=1, max_size=6))
def test_every_sentence_can_be_recomputed_from_its_inputs(name: str, stack: str, seen: list) -> None:  # type: ignore[type-arg]
    own = {"rules_file": RULES} if name == "rules" else {}
    policy = policy_for(Settings(policy=name, min_workers=1, max_workers=50, **own, **STACKS[stack]))  # type: ignore[arg-type]
    for snapshot in later(seen):
        decision = policy.decide(snapshot)
        assert_it_holds(decision)
        assert json.decode(json.encode(decision), type=Decision) == decision
