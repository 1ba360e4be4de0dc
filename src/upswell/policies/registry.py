"""The policies, by name: the one list behind the monitor, `compare`, `simulate` and `replay`.

An installed package adds one by an entry point of the group `upswell.policies`; `package.module:Class` needs
no entry at all. docs/policies.md shows how to write one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from upswell.errors import SettingsError
from upswell.policies.guarded import Guarded, guards_for
from upswell.policies.own import Checked, check_decides, check_policy
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesGuard, RulesPolicy
from upswell.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.policies.protocol import ScalingPolicy
    from upswell.settings import Settings


class PolicyEntry(Entry, frozen=True, kw_only=True):
    """A policy, and in what it differs from others.

    `interval`: seconds between two decisions of its own controller, where it is compared; None: as often as
    the monitor. `number`: the argument that `name:number` sets. `mean_service`: the argument that takes the
    mean service time, which it needs and does not learn. `drawn`: it has an argument `rng`, which draws the
    phases of its own loops. `steadies_itself`: the policy weighs the cost of
    a change, so tolerance and stabilization stand around it only where asked for. `alone`: it starts from no
    worker by its own rule, so it can be compared without bounds.
    """

    interval: float | None = None
    number: str = ""
    mean_service: str = ""
    drawn: bool = False
    steadies_itself: bool = False
    alone: bool = False


_HERE = "upswell.policies"


def _peer(name: str, kind: str, **differences: Any) -> PolicyEntry:
    place = f"{_HERE}.peers.{name}:{kind}"
    return PolicyEntry(
        name=name, factory=f"{place}Policy", settings=f"{place}Settings", alone=True, **differences
    )


REGISTRY: Registry[Callable[..., ScalingPolicy]] = Registry(
    "policy",
    "upswell.policies",
    [
        PolicyEntry(name="slo", factory=f"{_HERE}.slo.slo:from_settings", steadies_itself=True),
        PolicyEntry(
            name="slo_formula",
            factory=f"{_HERE}.slo.slo_formula:SloFormulaPolicy",
            summary="Little's law and Erlang's formula, not rehearsed",
        ),
        PolicyEntry(name="threshold", factory=f"{_HERE}.threshold:ThresholdPolicy"),
        PolicyEntry(name="elasticity_control", factory=f"{_HERE}.elasticity_control:ElasticityControlPolicy"),
        PolicyEntry(
            name="constant",
            factory=f"{_HERE}.constant:from_settings",
            number="workers",
            alone=True,
            summary="the fewest that meet the objective, found with hindsight and there from the start",
        ),
        _peer(
            "keda", "Keda", interval=1.0, number="queue_length", drawn=True, summary="20 messages, over HTTP"
        ),
        _peer("knative", "Knative", number="concurrency"),
        _peer(
            "aws_backlog",
            "AwsBacklog",
            interval=20.0,
            number="processing_time",
            mean_service="processing_time",
        ),
        _peer(
            "dask_adaptive",
            "DaskAdaptive",
            interval=1.0,
            number="target_duration",
            mean_service="processing_time",
            summary="target duration 5 s",
        ),
        PolicyEntry(
            name="celery_autoscale",
            factory=f"{_HERE}.peers.celery_autoscale:from_settings",
            interval=1.0,
            number="max_concurrency",
            alone=True,
        ),
        _peer("flink", "Flink", interval=10.0),
        _peer("judoscale", "Judoscale", interval=10.0),
        PolicyEntry(
            name="rules", factory=f"{_HERE}.registry:rules_alone", summary="the rules of the file alone"
        ),
    ],
)


def policy_entry(name: str) -> PolicyEntry:
    """Return the entry of a policy.

    Raises:
        SettingsError: no such policy; the message lists the known ones.
    """
    entry = REGISTRY.entry(name)
    return entry if isinstance(entry, PolicyEntry) else PolicyEntry(name=entry.name, factory=entry.factory)


def bare_policy(settings: Settings, **own: Any) -> ScalingPolicy:
    """Return an application's policy without guards.

    Its factory gets the settings of its own table (`[policies.NAME]`) and what is `own` by name, and the
    application's settings if it has an argument `settings`.

    Raises:
        SettingsError: no such policy, it cannot be imported, or it is none.
    """
    factory = REGISTRY.load(settings.policy)
    is_own = not REGISTRY.entry(settings.policy).described
    if is_own:
        check_policy(factory, settings.policy)
    struct = REGISTRY.settings_type(settings.policy)
    if struct is not None:
        own = {**asdict(settings.own("policies", settings.policy, struct)), **own}
    if "settings" in inspect.signature(factory).parameters:
        own["settings"] = settings
    made = factory(**own)
    if is_own:
        check_decides(made, settings.policy)
    return made


def guarded(policy: ScalingPolicy, settings: Settings) -> Guarded:
    """Return a policy behind the rules and the guards that the settings ask for."""
    rules = [rules_guard(settings)] if settings.rules_file and settings.policy != "rules" else []
    entry = policy_entry(settings.policy)
    if not entry.factory.startswith(f"{_HERE}."):
        policy = Checked(policy)
    return Guarded(policy, *rules, *guards_for(settings, steadies_itself=entry.steadies_itself))


def policy_for(settings: Settings) -> Guarded:
    """Return the policy of one application behind its guards; `settings` are those that hold for it.

    Raises:
        SettingsError: as `bare_policy`, or its rules have an error.
    """
    return guarded(bare_policy(settings), settings)


def rules_guard(settings: Settings) -> RulesGuard:
    """Return the rules of the settings' file as a guard; the file is read here, never by a policy."""
    return RulesGuard(parse(settings.rules_file, settings.rules_text()))


def rules_alone(settings: Settings) -> RulesPolicy:
    """Return the rules of the settings' file as a policy."""
    if not settings.rules_file:
        raise SettingsError('policy = "rules" needs rules_file, a TOML file with rules')
    return RulesPolicy(parse(settings.rules_file, settings.rules_text()))
