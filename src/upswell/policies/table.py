"""The one table of policies: name -> how it is made from an application's settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.policies.aws_backlog import AwsBacklogPolicy
from upswell.policies.bottleneck import BottleneckCheck
from upswell.policies.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.constant import ConstantPolicy
from upswell.policies.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.fail_static import FailStatic, lost_after
from upswell.policies.flink import FlinkPolicy
from upswell.policies.judoscale import JudoscalePolicy
from upswell.policies.keda import KedaPolicy
from upswell.policies.knative import KnativePolicy
from upswell.policies.rules import RulesPolicy
from upswell.policies.rules_file import parse
from upswell.policies.slo import SloPolicy
from upswell.policies.slo_family import SloFamilyPolicy
from upswell.policies.step_limits import StepLimits
from upswell.policies.threshold import ThresholdPolicy
from upswell.policies.wrappers import Bounds, Stabilization, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.protocol import ScalingPolicy
    from upswell.policies.rules_file import Rulebook
    from upswell.settings import Settings

POLICIES: dict[str, Callable[[Settings], ScalingPolicy]] = {
    "slo": lambda settings: SloFamilyPolicy(settings.decision_interval, beginning=SloPolicy()),
    "slo_formula": lambda _: SloPolicy(),
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
    inside: ScalingPolicy = Stabilization(policy, settings.stabilization_window)
    inside = Tolerance(inside, settings.tolerance, settings.min_workers)
    if settings.bottleneck_check:
        inside = BottleneckCheck(inside)
    if settings.max_scale_out_factor > 0 or settings.max_scale_in_share < 1:
        inside = StepLimits(
            inside, out_factor=settings.max_scale_out_factor, in_share=settings.max_scale_in_share
        )
    inside = FailStatic(inside, lost_after(settings.window, settings.decision_interval))
    return Bounds(inside, settings.min_workers, settings.max_workers)


def _rulebook(settings: Settings) -> Rulebook:
    """Return the rules of the settings' file; the policies themselves never read one."""
    if not settings.rules_file:
        raise SettingsError('policy = "rules" needs rules_file, the TOML file that holds them')
    return parse(settings.rules_file, settings.rules_text())
