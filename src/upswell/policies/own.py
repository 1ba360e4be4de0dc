"""The user's own policy: its form is checked where it is written, its decisions where they are made."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from upswell.analysis.decision import Decision
from upswell.analysis.sentence import sentence
from upswell.errors import SettingsError
from upswell.registry import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy

SETTINGS = "settings"
"""A parameter of this name is given the application's settings."""

Factory = TypeVar("Factory", bound="Callable[..., ScalingPolicy]")


def policy(factory: Factory) -> Factory:
    """Return a class, or a function that makes policies, unchanged, once its form is checked.

    Without it a mistake shows when a monitor or a simulation starts. A type checker sees mistakes, too.

    Raises:
        SettingsError: it cannot be a policy; the message says the rule.
    """
    kind: Any = factory
    check_policy(kind, place_of(kind))
    return factory


def check_policy(factory: Callable[..., Any], name: str) -> None:
    """Raise a SettingsError unless `factory` can be called by the name in the setting `policy`."""
    for parameter in inspect.signature(factory).parameters.values():
        needed = parameter.default is parameter.empty and parameter.kind not in {
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        }
        if needed and parameter.name != SETTINGS:
            raise SettingsError(
                f"policy {name} must be made without arguments, or with {SETTINGS}: "
                f"give {parameter.name} a default"
            )
    if inspect.isclass(factory):
        check_decides(factory, name)


def check_decides(made: Any, name: str) -> None:
    """Raise a SettingsError unless a policy, or its class, has the method that a policy has."""
    decide = getattr(made, "decide", None)
    if not callable(decide):
        raise SettingsError(f"policy {name} must have a method decide(snapshot)")
    if inspect.iscoroutinefunction(decide):
        raise SettingsError(f"policy {name}: decide must not be async: it reads no clock and does no I/O")
    given = (None, None) if inspect.isclass(made) else (None,)  # self and the snapshot, else the snapshot
    try:
        inspect.signature(decide).bind(*given)
    except TypeError as error:
        raise SettingsError(f"policy {name}: decide must take one argument, the snapshot: {error}") from error


class Checked:
    """A policy that others wrote: what it decides can be sent, told and read again from the journal."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return its decision, as a reader of the journal gets it.

        Raises:
            SettingsError: a number in it breaks its rule (2.5 workers, NaN, one of numpy's).
        """
        decision = self._policy.decide(snapshot)
        _check_numbers(decision)
        decision = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
        sentence(decision)  # a template that cannot be read must fail here, not where others are told
        return decision


def _check_numbers(decision: Any) -> None:
    """Check what is most often wrong, to say it better than a decoder does."""
    if type(decision.desired_workers) is not int:
        raise SettingsError(f"desired_workers must be a whole number (int), got {decision.desired_workers!r}")
    for why in (*decision.steps, *decision.rejected):
        for name, value in why.inputs.items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise SettingsError(f"input {name} must be a finite number, or left out, got {value!r}")
