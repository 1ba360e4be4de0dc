"""The one table of policies: name -> how it is made from an application's settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.policies.constant import ConstantPolicy
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.guarded import Guarded, guards_for
from upswell.policies.peers.aws_backlog import AwsBacklogPolicy
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.peers.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.peers.flink import FlinkPolicy
from upswell.policies.peers.judoscale import JudoscalePolicy
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.peers.knative import KnativePolicy
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesGuard, RulesPolicy
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

STEADY_THEMSELVES = frozenset({"slo"})
"""Policies that weigh themselves what a change costs."""


def policy_for(settings: Settings, app_id: str) -> ScalingPolicy:
    """Return the policy of one application, guarded; `settings` are those that hold for it.

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


def wrapped(policy: ScalingPolicy, settings: Settings) -> Guarded:
    """Return a policy behind the rules and the guards that the settings ask for."""
    rules = [RulesGuard(_rulebook(settings))] if settings.rules_file and settings.policy != "rules" else []
    return Guarded(
        policy, *rules, *guards_for(settings, steadies_itself=settings.policy in STEADY_THEMSELVES)
    )


def _rulebook(settings: Settings) -> Rulebook:
    """Return the rules of the settings' file; the policies themselves never read one."""
    if not settings.rules_file:
        raise SettingsError('policy = "rules" needs rules_file, the TOML file that holds them')
    return parse(settings.rules_file, settings.rules_text())
