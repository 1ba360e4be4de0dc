"""Settings that belong to one broker, fleet, handler, policy or kind of store: `[fleets.docker] image = ...`.

Each is a field of the Struct that the registry's entry names, so a package that adds an entry adds its settings. Registries
are found by name, when a table is there: this package must not know what stands behind them.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from upswell.errors import SettingsError
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
"""Settings that hold such tables, and where the registry of each is."""


def registry(kind: str) -> Registry[Any]:
    """Return the registry whose entries have their settings in the tables of this kind."""
    return importlib.import_module(KINDS[kind]).REGISTRY


def struct_of(kind: str, name: str) -> type[Struct] | None:
    """Return the Struct of an entry's settings; None where its extra is not installed, so that nobody here uses it.

    Raises:
        SettingsError: there is no such entry, or it has no settings of its own.
    """
    entry = registry(kind).entry(name)
    try:
        struct = registry(kind).settings_type(name)
    except SettingsError:
        if entry.extra is None:
            raise
        return None
    if struct is None:
        raise SettingsError(f"{kind}.{name} has no settings of its own")
    return struct


def check_tables(kind: str, tables: Mapping[str, Mapping[str, Any]], where: str = "") -> None:
    """Raise a SettingsError where a table, or a setting in it, is unknown or breaks its rule."""
    for name, table in tables.items():
        struct = struct_of(kind, name)
        if struct is not None:
            build(struct, table, f"{where}{kind}.{name}.")


def table_settings() -> Iterator[tuple[str, str, str, Any, Setting]]:
    """Yield (kind, entry, name, default, what it is for) of every setting in a table, as far as extras are installed."""
    for kind in KINDS:
        for name in registry(kind).names():
            struct = struct_of(kind, name) if registry(kind).entry(name).settings else None
            if struct is not None:
                default = build(struct, {})
                for field, said in settings_of(struct).items():
                    yield kind, name, field, getattr(default, field), said


def merged(general: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tables of one kind with an application's own values over the general ones."""
    return {name: {**general.get(name, {}), **own.get(name, {})} for name in {**general, **own}}


def table_variable(kind: str, name: str, setting: str) -> str:
    """Return the environment variable of a setting in a table.

    >>> table_variable("fleets", "docker", "image")
    'UPSWELL_FLEETS_DOCKER_IMAGE'
    """
    return re.sub(r"\W", "_", f"UPSWELL_{kind}_{name}_{setting}").upper()


def dotted_of_variable(variable: str) -> str | None:
    """Return the setting in a table that a variable gives, as `fleets.docker.image`; None where it gives none."""
    for kind in KINDS:
        if variable.startswith(f"UPSWELL_{kind.upper()}_"):
            for name in sorted(registry(kind).names(), key=len, reverse=True):
                prefix = table_variable(kind, name, "")
                if variable.startswith(prefix) and variable != prefix:
                    return f"{kind}.{name}.{variable.removeprefix(prefix).lower()}"
    return None
