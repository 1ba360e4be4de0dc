"""The policies that can be tried in virtual time: those of the monitor's registry, made as it makes them.

`slo` comes with its rehearsal, which the monitor has beside its loop. A peer decides as often as its own
controller does, with its published default constants; one number may be given after a colon: `keda:5`,
`constant:12`. Behind a plus sign stand the rules that guard a policy: `slo+rules`. A policy of your own is
`package.module:Class`.
"""

from __future__ import annotations

import math
import re
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.registry import REGISTRY, PolicyEntry, bare_policy, guarded, policy_entry, rules_guard
from upswell.policies.slo.staffing import family_with
from upswell.simulator.rehearsed_policy import RehearsedPolicy

if TYPE_CHECKING:
    from upswell.policies.protocol import ScalingPolicy
    from upswell.settings import Settings

_GUARD = "+rules"
_TEXT = re.compile(r"(?P<name>.*?)(?::(?P<number>[^:A-Za-z_]*|nan|inf))?\Z", re.DOTALL)
"""A name and the number behind it; in `package.module:Class` the colon is part of the name."""


class Choice(Struct, frozen=True):
    """A contender as it was asked for."""

    text: str
    entry: PolicyEntry
    number: float | None = None
    guarded: bool = False
    """Whether the rules stand around it."""

    @property
    def name(self) -> str:
        """The policy's name in the registry."""
        return self.entry.name

    def policy(
        self, settings: Settings, mean_service: float, *, seed: int = 1, in_wrappers: bool = False
    ) -> ScalingPolicy:
        """Return a fresh policy under an application's settings.

        `mean_service` (seconds, of all uploads) is for the contenders that are given it, `seed` for those
        that draw the phases of their own loops. With `in_wrappers` the monitor's guards stand around it.

        Raises:
            SettingsError: it needs rules, and none are given or they are invalid.
        """
        with_rules = self.guarded or self.name == "rules"
        settings = replace(settings, policy=self.name, rules_file=settings.rules_file if with_rules else "")
        if with_rules and not settings.rules_file:
            raise SettingsError(f"policy {self.text} needs --rules-file, a TOML file with rules")
        made = self._bare(settings, mean_service, seed)
        if in_wrappers:
            return guarded(made, settings)
        if self.guarded:
            made = Guarded(made, rules_guard(settings))
        if self.guarded or not self.entry.alone:
            made = Guarded(made, Bounds(settings.min_workers, settings.max_workers))
        return made

    def _bare(self, settings: Settings, mean_service: float, seed: int) -> ScalingPolicy:
        if self.name == "slo":
            return RehearsedPolicy(
                settings.decision_interval,
                min_workers=settings.min_workers,
                max_workers=settings.max_workers,
                settings=family_with(settings.standby_workers),
                start_cost=settings.assumed_start_cost,
            )
        own: dict[str, Any] = {}
        if self.entry.mean_service:
            own[self.entry.mean_service] = mean_service
        if self.number is not None:
            own[self.entry.number] = self.number
        if self.entry.drawn:
            own["rng"] = Random(seed)  # noqa: S311 - chance in a model, no secret
        return bare_policy(settings, **own)

    def behind_rules(self) -> Choice:
        """Return the same policy, guarded."""
        return self if self.guarded else replace(self, text=f"{self.text}{_GUARD}", guarded=True)

    @property
    def is_constant(self) -> bool:
        """Whether the number of workers never changes; without a number it is found with hindsight."""
        return self.name == "constant" and not self.guarded

    @property
    def note(self) -> str:
        """What a reader must know of it; empty where there is nothing."""
        given = "given the mean service time" if self.entry.mean_service else ""
        note = self.entry.summary if self.number is None else ""
        return "; ".join(part for part in (note, given) if part)


def choose(text: str) -> Choice:
    """Return the policy of that name: `name`, `name:number`, `name+rules`, `name:number+rules`.

    Raises:
        SettingsError: no policy has that name (the message lists those there are), or the number is invalid.
    """
    text = text.strip()
    rules = text.endswith(_GUARD)
    match = _TEXT.match(text.removesuffix(_GUARD))
    assert match is not None  # any text is a name
    entry = policy_entry(match["name"])
    if rules and entry.name == "rules":
        raise SettingsError(f"policy rules cannot guard itself, got {text!r}")
    if match["number"] is None:
        return Choice(text, entry, guarded=rules)
    if not entry.number:
        raise SettingsError(f"policy {entry.name} takes no number, got {text!r}")
    return Choice(text, entry, _number(entry, match["number"].strip()), rules)


def _number(entry: PolicyEntry, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    whole = entry.name in {"constant", "celery_autoscale"}
    if not (0 < number < 1e6 and (not whole or number.is_integer())):  # noqa: PLR2004 - beyond any worker, second or message
        rule = "a whole number" if whole else "a number"
        raise SettingsError(f"policy {entry.name}: {entry.number} must be {rule} > 0, got {value!r}")
    return number


def choose_all(text: str, *, with_rules: bool = False) -> list[Choice]:
    """Return the policies of a list separated by commas, or all for `all`; none twice.

    `with_rules`: whether there is a file of rules, so that `all` has a policy more.
    """
    names = text.split(",")
    if text.strip() == "all":
        names = [name for name in REGISTRY.names() if with_rules or name != "rules"]
    choices = [choose(name) for name in names]
    return list({choice.text: choice for choice in choices}.values())
