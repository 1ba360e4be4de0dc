"""Settings that belong to one broker, fleet, handler, policy or kind of store: `[fleets.docker] image = ...`.

Each is a field of the Struct named by the registry's entry, so a package that adds an entry adds its settings.
Registries are imported by name, only when a table exists: this package must not depend on them.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import SettingsError
from upswell.safe import safe
from upswell.settings.checking import build
from upswell.settings.setting import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msgspec import Struct

    from upswell.registry import Registry
    from upswell.settings.setting import Setting

KINDS = {
    "brokers": "upswell.broker.registry",
    "fleets": "upswell.fleets.registry",
    "handlers": "upswell.handlers.registry",
    "policies": "upswell.policies.registry",
    "stores": "upswell.stores.settings",
}
"""Settings with such tables -> the module with their registry."""


def registry(kind: str) -> Registry[Any]:
    """Return the registry whose entries are configured by the tables of this kind."""
    return importlib.import_module(KINDS[kind]).REGISTRY


def struct_of(kind: str, name: str) -> type[Struct] | None:
    """Return the Struct of an entry's settings; None when its extra is not installed.

    Raises:
        SettingsError: the entry is unknown or has no settings.
    """
    entry = registry(kind).entry(name)
    try:
        struct = registry(kind).settings_type(name)
    except SettingsError:
        if entry.extra is None:
            raise
        return None
    if struct is None:
        raise SettingsError(f"{kind}.{name} has no settings")
    return struct


def check_tables(kind: str, tables: Mapping[str, Mapping[str, Any]], where: str = "") -> None:
    """Raise a SettingsError if a table or a setting in it is unknown or invalid."""
    for name, table in tables.items():
        struct = struct_of(kind, name)
        if struct is not None:
            build(struct, table, f"{where}{kind}.{name}.")


def table_settings() -> Iterator[tuple[str, str, str, Any, Setting]]:
    """Yield (kind, entry, name, default, metadata) of every setting in a table whose extra is installed."""
    for kind in KINDS:
        for name in registry(kind).names():
            struct = struct_of(kind, name) if registry(kind).entry(name).settings else None
            if struct is not None:
                default = build(struct, {})
                for field, said in settings_of(struct).items():
                    yield kind, name, field, getattr(default, field), said


def tables_of(value: object, where: str) -> dict[str, dict[str, Any]]:
    """Return a value that should be the tables of one kind.

    Raises:
        SettingsError: it is something else.
    """
    try:
        return msgspec.convert(value, dict[str, dict[str, Any]])
    except msgspec.ValidationError:
        raise SettingsError(
            f"{where} must contain tables such as [{where}.NAME], got {safe(repr(value))}"
        ) from None


def merged(
    general: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the tables of one kind, the own values overriding the general ones."""
    return {name: {**general.get(name, {}), **own.get(name, {})} for name in {**general, **own}}


def table_variable(kind: str, name: str, setting: str) -> str:
    """Return the environment variable of a setting in a table.

    >>> table_variable("fleets", "docker", "image")
    'UPSWELL_FLEETS_DOCKER_IMAGE'
    """
    return re.sub(r"\W", "_", f"UPSWELL_{kind}_{name}_{setting}").upper()


def dotted_of_variable(variable: str) -> str | None:
    """Return the setting of a variable, as `fleets.docker.image`; None if it is not one in a table."""
    for kind in KINDS:
        if variable.startswith(f"UPSWELL_{kind.upper()}_"):
            for name in sorted(registry(kind).names(), key=len, reverse=True):
                prefix = table_variable(kind, name, "")
                if variable.startswith(prefix) and variable != prefix:
                    return f"{kind}.{name}.{variable.removeprefix(prefix).lower()}"
    return None
