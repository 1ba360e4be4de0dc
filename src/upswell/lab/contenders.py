"""The policies that can be tried in virtual time: name -> how one is made, and how often it decides.

The names are those of `policies/table.py`, and what is made is what the monitor runs; `slo` comes with its
rehearsal, which the monitor has beside its loop. A peer decides as often as its own controller does, with its
published default constants; one number may be given after a colon: `keda:5`, `constant:12`. Behind a plus
sign stand the rules that guard a policy: `slo+rules`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.peers.aws_backlog import AwsBacklogPolicy
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.peers.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.peers.knative import KnativePolicy
from upswell.policies.protocol import ScalingPolicy
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesGuard
from upswell.policies.table import bare_policy_for, wrapped
from upswell.settings import Settings
from upswell.simulator.rehearsed_policy import RehearsedPolicy

_GUARD = "+rules"


class Facts(Struct, frozen=True, kw_only=True):
    """What a policy may be made from: the settings that a monitor would have, and what it could not know."""

    settings: Settings
    mean_service: float
    number: float | None = None
    """What was given after the colon."""


Make = Callable[[Facts], ScalingPolicy]


class Contender(Struct, frozen=True, kw_only=True):
    """One policy: how it is made, its own controller's interval (None: as told), and what to know of it."""

    make: Make
    interval: float | None = None
    number: str = ""
    """What a number after the colon means; empty: none may be given."""
    told_mean: bool = False
    """It is told the mean service time, which it needs and does not learn."""
    bounded: bool = False
    """Bare, it is not able to begin with no worker: one of ours, made to stand in the monitor's bounds."""
    note: str = ""


def _of_table(facts: Facts) -> ScalingPolicy:
    return bare_policy_for(facts.settings, "the contender")


def _rehearsed(facts: Facts) -> ScalingPolicy:
    settings = facts.settings
    return RehearsedPolicy(
        settings.decision_interval, min_workers=settings.min_workers, max_workers=settings.max_workers
    )


CONTENDERS: dict[str, Contender] = {
    "slo": Contender(make=_rehearsed, bounded=True),
    "slo_formula": Contender(
        make=_of_table, bounded=True, note="Little's law and Erlang's formula, not rehearsed"
    ),
    "constant": Contender(
        make=lambda f: ConstantPolicy(int(f.number or 0)),
        number="workers",
        note="the fewest that meet the objective, found with hindsight and there from the start",
    ),
    "keda": Contender(
        make=lambda f: KedaPolicy(f.number or 20),
        interval=5.0,
        number="messages a worker",
        note="20 messages",
    ),
    "knative": Contender(make=lambda f: KnativePolicy(f.number), number="concurrency of a worker"),
    "aws_backlog": Contender(
        make=lambda f: AwsBacklogPolicy(f.number or f.mean_service),
        interval=20.0,
        number="seconds of one upload",
        told_mean=True,
    ),
    "dask_adaptive": Contender(
        make=lambda f: DaskAdaptivePolicy(f.number or 5.0, f.mean_service),
        interval=1.0,
        number="target duration in seconds",
        told_mean=True,
        note="target duration 5 s",
    ),
    "celery_autoscale": Contender(
        make=lambda f: CeleryAutoscalePolicy(int(f.number or f.settings.max_workers)),
        interval=1.0,
        number="processes",
    ),
    "flink": Contender(make=_of_table, interval=10.0),
    "judoscale": Contender(make=_of_table, interval=10.0),
    "threshold": Contender(make=_of_table, bounded=True),
    "elasticity_control": Contender(make=_of_table, bounded=True),
    "rules": Contender(make=_of_table, bounded=True, note="the rules of the file alone"),
}


class Choice(Struct, frozen=True):
    """A contender as it was asked for."""

    text: str
    name: str
    contender: Contender
    number: float | None = None
    guarded: bool = False
    """Whether the rules stand around it."""

    def policy(self, settings: Settings, mean_service: float, *, in_wrappers: bool = False) -> ScalingPolicy:
        """Return a fresh policy.

        Args:
            settings: those of an application: interval, bounds, `rules_file`.
            mean_service: of all uploads, in seconds; for the contenders that are told it.
            in_wrappers: whether everything stands around it that the monitor puts there.

        Raises:
            SettingsError: it needs rules, and there are none or they have an error.
        """
        with_rules = self.guarded or self.name == "rules"
        settings = replace(settings, policy=self.name, rules_file=settings.rules_file if with_rules else "")
        if with_rules and not settings.rules_file:
            raise SettingsError(f"policy {self.text} needs --rules-file, the TOML file that holds the rules")
        made = self.contender.make(Facts(settings=settings, mean_service=mean_service, number=self.number))
        if in_wrappers:
            return wrapped(made, settings)
        if self.guarded:
            made = Guarded(made, RulesGuard(parse(settings.rules_file, settings.rules_text())))
        if self.contender.bounded or self.guarded:
            made = Guarded(made, Bounds(settings.min_workers, settings.max_workers))
        return made

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
        told = "told the mean service time" if self.contender.told_mean else ""
        note = self.contender.note if self.number is None else ""
        return "; ".join(part for part in (note, told) if part)


def choose(text: str) -> Choice:
    """Return the policy of that name: `name`, `name:number`, `name+rules`, `name:number+rules`.

    Raises:
        SettingsError: no policy has that name (the message lists those there are), or the number is none.
    """
    text = text.strip()
    guarded = text.endswith(_GUARD)
    name, colon, value = text.removesuffix(_GUARD).partition(":")
    contender = CONTENDERS.get(name)
    if contender is None:
        close = difflib.get_close_matches(name, CONTENDERS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"policy must be one of {', '.join(CONTENDERS)}, got {name!r}{hint}")
    if guarded and name == "rules":
        raise SettingsError(f"policy rules is not guarded by itself, got {text!r}")
    if not colon:
        return Choice(text, name, contender, guarded=guarded)
    if not contender.number:
        raise SettingsError(f"policy {name} takes no number, got {text!r}")
    return Choice(text, name, contender, _number(name, contender, value.strip()), guarded)


def _number(name: str, contender: Contender, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    whole = name in {"constant", "celery_autoscale"}
    if not (0 < number < 1e6 and (not whole or number.is_integer())):  # noqa: PLR2004 - beyond any worker, second or message
        rule = "a whole number" if whole else "a number"
        raise SettingsError(f"policy {name}: {contender.number} must be {rule} > 0, got {value!r}")
    return number


def choose_all(text: str, *, with_rules: bool = False) -> list[Choice]:
    """Return the policies of a list separated by commas, or all for `all`; none twice.

    `with_rules`: whether there is a file of rules, so that `all` has a policy more.
    """
    names = text.split(",")
    if text.strip() == "all":
        names = [name for name in CONTENDERS if with_rules or name != "rules"]
    choices = [choose(name) for name in names]
    return list({choice.text: choice for choice in choices}.values())
