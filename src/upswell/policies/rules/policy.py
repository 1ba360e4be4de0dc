"""Rules of the user's own: complex event processing over the snapshots, as the policy or as a guard.

Each rule of a file (`file.py`, documented in docs/rules.md) has a condition, perhaps a pattern in time,
and an action. At each snapshot all rules are judged. Those that fire are applied from the lowest priority to
the highest, each to what the one before left, beginning with what the policy wants, or, without one, with the
present number. So the highest priority has the last word.

A rule that cannot be judged (a signal is missing, a division by zero) says so, and keeps the number from
falling below the present one. Other rules may still ask for more workers: no data never starts a scale-in,
nor does it stop help.

Patterns and cooldowns are a rule's memory; it starts empty with each policy object.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.analysis.decision import RULES, Decision, Inputs, Reason, Step
from upswell.analysis.sentence import escaped
from upswell.policies.rules.expressions import Scope
from upswell.policies.rules.variables import VARIABLES, read

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.rules.file import Rulebook
    from upswell.policies.rules.patterns import Found
    from upswell.policies.rules.rule import Rule

NONE_FIRES = "none of {rules:rule} fires"


class RulesGuard:
    """A rulebook at work for one application, around any policy."""

    def __init__(self, book: Rulebook) -> None:
        self._book = book
        self._scope = Scope()
        self._watches = [_Watch(rule) for rule in book.rules]
        self._last_at = -math.inf

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return what the rules make of a decision; as it was where no rule has anything to say."""
        found = self.judge(snapshot, decision.desired_workers)
        if not found.steps:
            return decision
        held = decision.held if found.workers == decision.desired_workers else not found.fired
        return replace(
            decision,
            desired_workers=found.workers,
            steps=(*decision.steps, *found.steps),
            rejected=(*decision.rejected, *found.rejected),
            held=held,
        )

    def judge(self, snapshot: Snapshot, wanted: int) -> Findings:
        """Return what all rules find, beginning with the number `wanted`."""
        self._follow_time(snapshot)
        self._scope.look(read(self._book.variables, snapshot, wanted, self._book.zone))
        found = Findings(wanted, snapshot.workers.desired)
        for watch in self._watches:
            watch.act(snapshot.at, self._scope, found)
        return found

    @property
    def missing(self) -> str:
        """Which signals were unknown at the last snapshot, in words; empty where all were known."""
        return self._scope.missing(self._book.variables)

    def _follow_time(self, snapshot: Snapshot) -> None:
        """Let the patterns know of holes in the stream; where time went back, forget all."""
        gap, self._last_at = snapshot.at - self._last_at, snapshot.at
        if gap < 0:
            self._watches = [_Watch(rule) for rule in self._book.rules]
        elif gap > snapshot.window:
            for watch in self._watches:
                watch.hole(gap)


class RulesPolicy:
    """A rulebook that decides alone."""

    def __init__(self, book: Rulebook) -> None:
        self._rules = RulesGuard(book)
        self._number = len(book.rules)

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return what the rules make of the present number."""
        current = snapshot.workers.desired
        found = self._rules.judge(snapshot, current)
        held, steps = False, found.steps
        if not found.fired:
            missing = self._rules.missing
            held = bool(missing) or found.unjudged
            if not steps:
                why = f"{NONE_FIRES}; {missing}" if missing else NONE_FIRES
                steps = [Step(RULES, current, current, why, {"rules": self._number})]
        return Decision(
            desired_workers=found.workers, steps=tuple(steps), rejected=tuple(found.rejected), held=held
        )


class Findings:
    """The number of workers as the rules leave it, and what each rule has to say."""

    def __init__(self, workers: int, current: int) -> None:
        self.workers = workers
        self.current = current
        self.fired = self.unjudged = False
        self.steps: list[Step] = []
        self.rejected: list[Reason] = []

    def step(self, workers: int, why: str, inputs: Inputs) -> None:
        """Note what a rule made of the number."""
        self.steps.append(Step(RULES, self.workers, workers, why, inputs))
        self.workers = workers


class _Watch:
    """One rule and its memory: its pattern, and when it fired last."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._pattern = rule.pattern() if rule.pattern else None
        self._fired_at = -math.inf
        self._numbers = [name for name in rule.variables if VARIABLES[name].kind is float]
        shown = ", ".join(f"{name} {{{name}}}" for name in self._numbers)
        found = ", ".join(filter(None, (shown, self._pattern.why if self._pattern else "")))
        because = f", because {escaped(rule.because)}" if rule.because else ""
        text = escaped(rule.text)
        self._fires = f"rule {rule.name}: {text}{f' ({found})' if found else ''}{because}: {rule.says}"
        self._silent = f"rule {rule.name} does not fire: {shown or text}"

    def hole(self, seconds: float) -> None:
        """Note that nothing was observed for that long."""
        if self._pattern is not None and seconds > self._pattern.seconds:
            self._pattern.lapse()

    def act(self, at: float, scope: Scope, found: Findings) -> None:
        """Judge the rule, and apply it where it fires."""
        rule = self._rule
        values = scope.values
        numbers = {name: value for name in self._numbers if (value := values[name]) is not None}
        try:
            pattern = self._judge(at, scope)
            if pattern is None:
                found.rejected.append(Reason(RULES, self._silent, numbers))
                return
            rest = rule.cooldown - (at - self._fired_at)
            if rest > 0:
                why = f"rule {rule.name} cools down for {{rest:s}} more"
                found.rejected.append(Reason(RULES, why, {"rest": rest}))
                return
            workers, amount = rule.apply(found.workers, found.current, scope)
        except ArithmeticError as error:
            self.hole(math.inf)
            found.unjudged = True
            why = f"rule {rule.name} cannot be judged, {escaped(str(error))}: no scale-in below {{current}}"
            found.step(max(found.workers, found.current), why, {"current": found.current})
            return
        self._fired_at = at
        found.fired = True
        found.step(workers, self._fires, {**numbers, **pattern, "amount": amount})

    def _judge(self, at: float, scope: Scope) -> Found | None:
        """Return the numbers of the rule's pattern, None where it or the condition is not there.

        Raises:
            ArithmeticError: one cannot be judged.
        """
        rule = self._rule
        now = rule.when is None or rule.when.value(scope)
        if self._pattern is None or rule.subject is None:
            return {} if now else None
        value = rule.subject.value(scope)
        then = rule.then is not None and bool(rule.then.value(scope))
        found = self._pattern.see(at, value, then)
        return found if now else None
