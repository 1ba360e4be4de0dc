"""The user's own policy, checked where it is written: its form, not its decisions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.errors import SettingsError
from upswell.registry import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

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
