# ruff: noqa: D101, D102 - examples, named for what they are
"""`@policy`: a class's form is checked where it is written, and again where it is found by its name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from upswell import Decision, Settings, SettingsError, policy
from upswell.policies.registry import bare_policy, guarded
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell import Snapshot


class Fixed:
    def __init__(self, workers: int = 2) -> None:
        self.workers = workers

    def decide(self, snapshot: Snapshot) -> Decision:
        return Decision.of("fixed", snapshot.workers.desired, self.workers, "always")


def from_settings(settings: Settings) -> Fixed:
    return Fixed(settings.min_workers)


@pytest.mark.parametrize("factory", [Fixed, from_settings])
def test_a_policy_comes_back_as_it_is(factory: Any) -> None:
    assert policy(factory) is factory


class Silent:
    pass


class Demanding(Fixed):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)


class Waiting:
    async def decide(self, snapshot: Snapshot) -> None:
        pass


class Blind:
    def decide(self) -> None:
        pass


class Greedy:
    def decide(self, snapshot: Snapshot, now: float) -> None:
        pass


WRONG = [
    (Silent, r"test_own:Silent must have a method decide\(snapshot\)"),
    (Demanding, "must be made without arguments, or with settings: give workers a default"),
    (Waiting, "decide must not be async"),
    (Blind, "decide must take one argument, the snapshot"),
    (Greedy, "decide must take one argument, the snapshot.*'now'"),
]


@pytest.mark.parametrize(("factory", "rule"), WRONG)
def test_what_cannot_be_a_policy_is_refused_with_the_rule(factory: Callable[..., Any], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        policy(factory)


def test_a_policy_that_is_not_marked_is_checked_when_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    for factory, rule in [*WRONG, (list, "must have a method decide")]:
        module.Policy = factory  # type: ignore[attr-defined]
        with pytest.raises(SettingsError, match=rule.replace("test_own:Silent", "mine:Policy")):
            bare_policy(Settings(policy="mine:Policy"))
    module.Policy = from_settings  # type: ignore[attr-defined]
    made = bare_policy(Settings(policy="mine:Policy", min_workers=3))
    assert isinstance(made, Fixed)
    assert made.workers == 3


class Deciding:
    def __init__(self, workers: Any, why: str = "{ratio} each", **inputs: Any) -> None:
        self.decision = Decision.of("mine", 1, workers, why, inputs)

    def decide(self, snapshot: Snapshot) -> Decision:
        return self.decision


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (Deciding(2.5), r"desired_workers must be a whole number \(int\), got 2.5"),
        (Deciding(np.int64(3)), "desired_workers must be a whole number"),
        (Deciding(3, ratio=float("nan")), "input ratio must be a finite number, or left out, got nan"),
        (Deciding(3, ratio=np.float64(1.5)), "input ratio must be a finite number"),
        (Deciding(3, ratio=None), "input ratio must be a finite number, or left out, got None"),
        (Deciding(3, why="{"), "Single '{'"),
    ],
)
def test_a_decision_that_could_not_be_told_or_read_again_fails_where_it_is_made(
    made: Deciding, rule: str
) -> None:
    """Later it would stop the decisions on all applications, or spoil the journal."""
    with pytest.raises((SettingsError, ValueError), match=rule):
        guarded(made, Settings(policy="mine:Deciding")).decide(ordinary())
