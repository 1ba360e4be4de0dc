"""The policies that can be tried in virtual time: name -> how one is made, and how often it decides.

`slo` here is the default policy with its rehearsal. A peer decides as often as its own controller does, with
its published default constants; one number may be given after a colon: `keda:5`, `constant:12`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.policies.aws_backlog import AwsBacklogPolicy
from upswell.policies.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.constant import ConstantPolicy
from upswell.policies.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.flink import FlinkPolicy
from upswell.policies.judoscale import JudoscalePolicy
from upswell.policies.keda import KedaPolicy
from upswell.policies.knative import KnativePolicy
from upswell.policies.protocol import ScalingPolicy
from upswell.policies.slo import SloPolicy
from upswell.policies.threshold import ThresholdPolicy
from upswell.policies.wrappers import Bounds
from upswell.simulator.rehearsal import RehearsedPolicy


class Facts(Struct, frozen=True, kw_only=True):
    """What a policy may be made from."""

    interval: float
    max_workers: int
    mean_service: float
    number: float | None = None
    """What was given after the colon."""


class Contender(Struct, frozen=True, kw_only=True):
    """One policy: how it is made, its own controller's interval (None: as told), and what to know of it."""

    make: Callable[[Facts], ScalingPolicy]
    interval: float | None = None
    number: str = ""
    """What a number after the colon means; empty: none may be given."""
    told_mean: bool = False
    """It is told the mean service time, which it needs and does not learn."""
    note: str = ""


def _bounded(policy: ScalingPolicy, facts: Facts) -> ScalingPolicy:
    return Bounds(policy, 0, facts.max_workers)


CONTENDERS: dict[str, Contender] = {
    "slo": Contender(make=lambda f: RehearsedPolicy(f.interval, max_workers=f.max_workers)),
    "slo_formula": Contender(
        make=lambda f: _bounded(SloPolicy(), f), note="Little's law and Erlang's formula, not rehearsed"
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
        make=lambda f: CeleryAutoscalePolicy(int(f.number or f.max_workers)), interval=1.0, number="processes"
    ),
    "flink": Contender(make=lambda _: FlinkPolicy(), interval=10.0),
    "judoscale": Contender(make=lambda _: JudoscalePolicy(), interval=10.0),
    "threshold": Contender(make=lambda f: _bounded(ThresholdPolicy(), f)),
    "elasticity_control": Contender(make=lambda f: _bounded(ElasticityControlPolicy(), f)),
}


class Choice(Struct, frozen=True):
    """A contender as it was asked for."""

    text: str
    contender: Contender
    number: float | None

    def policy(self, *, interval: float, max_workers: int, mean_service: float) -> ScalingPolicy:
        """Return a fresh policy."""
        return self.contender.make(
            Facts(interval=interval, max_workers=max_workers, mean_service=mean_service, number=self.number)
        )

    @property
    def is_constant(self) -> bool:
        """Whether the number of workers never changes; without a number it is found with hindsight."""
        return self.contender is CONTENDERS["constant"]

    @property
    def note(self) -> str:
        """What a reader must know of it; empty where there is nothing."""
        told = "told the mean service time" if self.contender.told_mean else ""
        note = self.contender.note if self.number is None else ""
        return "; ".join(part for part in (note, told) if part)


def choose(text: str) -> Choice:
    """Return the policy of that name, `name` or `name:number`.

    Raises:
        SettingsError: no policy has that name (the message lists those there are), or the number is none.
    """
    name, colon, value = text.strip().partition(":")
    contender = CONTENDERS.get(name)
    if contender is None:
        close = difflib.get_close_matches(name, CONTENDERS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"policy must be one of {', '.join(CONTENDERS)}, got {name!r}{hint}")
    if not colon:
        return Choice(name, contender, None)
    if not contender.number:
        raise SettingsError(f"policy {name} takes no number, got {text!r}")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    whole = name in {"constant", "celery_autoscale"}
    if not (0 < number < 1e6 and (not whole or number.is_integer())):  # noqa: PLR2004 - beyond any worker, second or message
        rule = "a whole number" if whole else "a number"
        raise SettingsError(f"policy {name}: {contender.number} must be {rule} > 0, got {value!r}")
    return Choice(f"{name}:{value.strip()}", contender, number)


def choose_all(text: str) -> list[Choice]:
    """Return the policies of a list separated by commas, or all for `all`; none twice."""
    names = list(CONTENDERS) if text.strip() == "all" else text.split(",")
    choices = [choose(name) for name in names]
    return list({choice.text: choice for choice in choices}.values())
