"""The one table of policies: name -> how it is made from an application's settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.policies.constant import ConstantPolicy
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.slo import SloPolicy
from upswell.policies.slo_family import SloFamilyPolicy
from upswell.policies.threshold import ThresholdPolicy
from upswell.policies.wrappers import Bounds, Stabilization, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.protocol import ScalingPolicy
    from upswell.settings import Settings

POLICIES: dict[str, Callable[[Settings], ScalingPolicy]] = {
    "slo": lambda settings: SloFamilyPolicy(settings.decision_interval, beginning=SloPolicy()),
    "slo_formula": lambda _: SloPolicy(),
    "threshold": lambda _: ThresholdPolicy(),
    "elasticity_control": lambda _: ElasticityControlPolicy(),
    "constant": lambda settings: ConstantPolicy(settings.min_workers),
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
    """Return a policy inside the wrappers that the settings ask for."""
    stable = Stabilization(policy, settings.stabilization_window)
    tolerant = Tolerance(stable, settings.tolerance, settings.min_workers)
    return Bounds(tolerant, settings.min_workers, settings.max_workers)
