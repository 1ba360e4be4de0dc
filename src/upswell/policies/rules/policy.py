"""Rules of one's own: complex event processing over the snapshots, as the policy or as a guard around one.

Each rule of a file (`file.py`, documented in docs/rules.md) has a condition, perhaps a pattern in time,
and an action. At each snapshot all rules are judged. Those that fire are applied from the lowest priority to
the highest, each to what the one before left, beginning with what the policy inside wants, or, without one,
with the present number. So the highest priority has the last word.

A rule that cannot be judged (a signal is missing, a division by zero) holds: it says so, and lets the number
not fall below the present one. More workers may still be asked for by other rules: no data never starts a
scale-in, nor does it stop help.

Patterns and cooldowns are a rule's memory; it begins anew with the policy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.policies.rules.expressions import Scope
from upswell.policies.rules.variables import Sight, read

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy
    from upswell.policies.rules.file import Rule, Rulebook
    from upswell.policies.rules.patterns import Pattern


class RulesPolicy:
    """A rulebook at work for one application.

    Args:
        book: the rules.
        inner: the policy that they guard; None: the rules alone decide.
    """

    def __init__(self, book: Rulebook, inner: ScalingPolicy | None = None) -> None:
        self._book = book
        self._inner = inner
        self._scope = Scope()
        self._watches = [_Watch(rule) for rule in book.rules]
        self._last_at = -math.inf

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return what the rules make of the inner decision, or of the present number."""
        inner = None if self._inner is None else self._inner.decide(snapshot)
        self._follow_time(snapshot)
        current = snapshot.workers.desired
        wanted = current if inner is None else inner.desired_workers
        self._scope.look(read(self._book.variables, Sight(snapshot, wanted, self._book.zone)))
        account = _Account(wanted, current)
        for watch in self._watches:
            watch.act(snapshot.at, self._scope, account)
        if inner is not None:
            return account.around(inner)
        return account.alone(len(self._watches), self._scope.missing(self._book.variables))

    def _follow_time(self, snapshot: Snapshot) -> None:
        """Tell the patterns of holes in the stream; where time went back, begin anew."""
        gap, self._last_at = snapshot.at - self._last_at, snapshot.at
        if gap < 0:
            self._watches = [_Watch(rule) for rule in self._book.rules]
        elif gap > snapshot.window:
            for watch in self._watches:
                watch.hole(gap)


class _Account:
    """The number of workers as the rules leave it, and what is to be said of each."""

    def __init__(self, wanted: int, current: int) -> None:
        self.current = current
        self.workers = wanted
        self.fired = 0
        self.unjudged = 0
        self.told: list[str] = []
        self.rejected: list[str] = []
        self.numbers: dict[str, float] = {}

    def fire(self, rule: Rule, workers: int, what: str) -> None:
        """Note that a rule fired and what it made of the number."""
        if workers != self.workers:
            self.rejected.append(f"{self.workers} workers: rule {rule.name} says {what}")
        self.workers = workers
        self.fired += 1

    def keep(self, rule: Rule, why: str) -> None:
        """Note that a rule could not be judged."""
        if self.workers < self.current:
            self.rejected.append(f"{self.workers} workers: rule {rule.name} cannot be judged")
            self.workers = self.current
        self.unjudged += 1
        self.told.append(f"rule {rule.name} cannot be judged, {why}: no fewer than {self.current}")

    def around(self, inner: Decision) -> Decision:
        """Return the guarded decision, as it was where no rule had anything to say."""
        if not self.told:
            return inner
        told = "; ".join(self.told)
        unchanged = self.workers == inner.desired_workers
        held = inner.held if unchanged else not self.fired
        rejected = (*inner.rejected, *self.rejected)
        return Decision(
            desired_workers=self.workers,
            reason=f"{inner.reason}; {told}",
            numbers={**inner.numbers, **self.numbers},
            rejected=rejected if rejected or held else (f"any other number than {self.workers}: {told}",),
            held=held,
        )

    def alone(self, rules: int, missing: str) -> Decision:
        """Return the decision of the rules alone."""
        told = "; ".join(self.told)
        rejected = tuple(self.rejected)
        if not self.fired:
            told = told or f"no rule of {rules} fires{f', and {missing}' if missing else ''}"
            if missing or self.unjudged:
                return replace(Decision.hold(self.current, told), rejected=rejected)
            told = f"{told}: {self.current} workers stay"
        return Decision(
            desired_workers=self.workers,
            reason=told,
            numbers=self.numbers,
            rejected=rejected or (f"any other number than {self.workers}: {told}",),
        )


class _Watch:
    """One rule and its memory: its pattern, and when it fired last."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._pattern: Pattern | None = None if rule.pattern is None else rule.pattern()
        self._fired_at = -math.inf

    def hole(self, seconds: float) -> None:
        """Note that nobody watched for so long."""
        if self._pattern is not None and seconds > self._pattern.seconds:
            self._pattern.lapse()

    def act(self, at: float, scope: Scope, account: _Account) -> None:
        """Judge the rule, and apply it where it fires."""
        rule = self.rule
        try:
            fires = self._judge(at, scope)
            if fires and at - self._fired_at >= rule.cooldown:
                workers, action = rule.action.apply(account.workers, account.current, scope)
            else:
                self._tell_why_not(at, scope, account, fires=fires)
                return
        except ArithmeticError as error:
            if self._pattern is not None:
                self._pattern.lapse()
            account.keep(rule, str(error))
            return
        self._fired_at = at
        found = ", ".join(
            part for part in (_listed(rule, scope), self._pattern.told(at) if self._pattern else "") if part
        )
        because = f", because {rule.because}" if rule.because else ""
        account.told.append(
            f"rule {rule.name}: {rule.text}{f' ({found})' if found else ''}{because}: {action} "
            f"-> {workers} {'worker' if workers == 1 else 'workers'}"
        )
        account.numbers.update(
            (name, value) for name in rule.variables if type(value := scope.values[name]) is float
        )
        account.fire(rule, workers, action)

    def _judge(self, at: float, scope: Scope) -> bool:
        """Return whether the rule's condition and pattern are there.

        Raises:
            ArithmeticError: one cannot be told.
        """
        rule = self.rule
        now = True if rule.when is None else bool(rule.when.value(scope))
        if self._pattern is None or rule.subject is None:
            return now
        value = rule.subject.value(scope)
        then = rule.then is not None and bool(rule.then.value(scope))
        return self._pattern.see(at, value, then) and now

    def _tell_why_not(self, at: float, scope: Scope, account: _Account, *, fires: bool) -> None:
        rule = self.rule
        if fires:
            rest = rule.cooldown - (at - self._fired_at)
            account.rejected.append(f"rule {rule.name} cools down for {rest:.4g} s more")
        else:
            account.rejected.append(f"rule {rule.name} does not fire: {_listed(rule, scope) or rule.text}")


def _listed(rule: Rule, scope: Scope) -> str:
    """Return the numbers that a rule speaks of."""
    return ", ".join(filter(None, map(scope.shown, rule.variables)))
