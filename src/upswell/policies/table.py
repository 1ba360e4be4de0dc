"""The one table of policies: name -> how it is made from an application's settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.policies.constant import ConstantPolicy
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.guards.bottleneck import BottleneckCheck
from upswell.policies.guards.fail_static import FailStatic, lost_after
from upswell.policies.guards.step_limits import StepLimits
from upswell.policies.guards.wrappers import Bounds, Stabilization, Tolerance
from upswell.policies.peers.aws_backlog import AwsBacklogPolicy
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.peers.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.peers.flink import FlinkPolicy
from upswell.policies.peers.judoscale import JudoscalePolicy
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.peers.knative import KnativePolicy
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesPolicy
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.policies.threshold import ThresholdPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.protocol import ScalingPolicy
    from upswell.policies.rules.file import Rulebook
    from upswell.settings import Settings

POLICIES: dict[str, Callable[[Settings], ScalingPolicy]] = {
    "slo": lambda settings: SloPolicy(settings.decision_interval),
    "slo_formula": lambda _: SloFormulaPolicy(),
    "threshold": lambda _: ThresholdPolicy(),
    "elasticity_control": lambda _: ElasticityControlPolicy(),
    "constant": lambda settings: ConstantPolicy(settings.min_workers),
    "keda": lambda _: KedaPolicy(),
    "knative": lambda _: KnativePolicy(),
    "aws_backlog": lambda _: AwsBacklogPolicy(),
    "dask_adaptive": lambda _: DaskAdaptivePolicy(),
    "celery_autoscale": lambda _: CeleryAutoscalePolicy(),
    "flink": lambda _: FlinkPolicy(),
    "judoscale": lambda _: JudoscalePolicy(),
    "rules": lambda settings: RulesPolicy(_rulebook(settings)),
}

OWN_MEMORY = frozenset({"slo"})
"""Policies that weigh themselves what a change costs: around them no tolerance and no stabilisation stand
unless they are asked for."""
STABILIZATION_WINDOW, TOLERANCE = 60.0, 0.1
"""Around all others."""


def policy_for(settings: Settings, app_id: str) -> ScalingPolicy:
    """Return the policy of one application, wrapped; `settings` are those that hold for it.

    Raises: SettingsError: as `bare_policy_for`.
    """
    return wrapped(bare_policy_for(settings, app_id), settings)


def bare_policy_for(settings: Settings, app_id: str) -> ScalingPolicy:
    """Return the policy of one application as it is.

    Raises:
        SettingsError: no policy has that name; the message lists those that there are.
    """
    make = POLICIES.get(settings.policy)
    if make is None:
        close = difflib.get_close_matches(settings.policy, POLICIES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(
            f"policy of {app_id} must be one of {', '.join(POLICIES)}, got {settings.policy!r}{hint}"
        )
    return make(settings)


def wrapped(policy: ScalingPolicy, settings: Settings) -> ScalingPolicy:
    """Return a policy inside the wrappers, and behind the rules, that the settings ask for."""
    if settings.rules_file and settings.policy != "rules":
        policy = RulesPolicy(_rulebook(settings), inner=policy)
    own = settings.policy in OWN_MEMORY
    # Never left out: it also keeps all workers until one full window was seen.
    inside: ScalingPolicy = Stabilization(
        policy, _chosen(settings.stabilization_window, 0.0 if own else STABILIZATION_WINDOW)
    )
    tolerance = _chosen(settings.tolerance, 0.0 if own else TOLERANCE)
    if tolerance > 0:
        inside = Tolerance(inside, tolerance, settings.min_workers)
    if settings.bottleneck_check:
        inside = BottleneckCheck(inside)
    if settings.max_scale_out_factor > 0 or settings.max_scale_in_share < 1:
        inside = StepLimits(
            inside, out_factor=settings.max_scale_out_factor, in_share=settings.max_scale_in_share
        )
    inside = FailStatic(inside, lost_after(settings.window, settings.decision_interval))
    return Bounds(inside, settings.min_workers, settings.max_workers)


def _chosen(value: float | None, default: float) -> float:
    return default if value is None else value


def _rulebook(settings: Settings) -> Rulebook:
    """Return the rules of the settings' file; the policies themselves never read one."""
    if not settings.rules_file:
        raise SettingsError('policy = "rules" needs rules_file, the TOML file that holds them')
    return parse(settings.rules_file, settings.rules_text())
