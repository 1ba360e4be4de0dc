"""From flags, environment and a TOML file to settings, and where each value came from."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import SettingsError
from upswell.settings.applications import Settings, build
from upswell.settings.fields import LISTS, variable
from upswell.settings.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Return the settings, and for each where it came from: `flag`, the variable, the file, or `default`.

    Args:
        flags: setting -> value from the command line; None means that it was not given.
        environment: the process's own by default.
        file: the TOML file; by default `UPSWELL_CONFIG`, else `upswell.toml` here where there is one.

    Raises:
        SettingsError: a setting is unknown (the nearest known one is suggested) or breaks its rule.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.__struct_fields__, "default")
    named = file or environment.get("UPSWELL_CONFIG")
    path = Path(named) if named else Path("upswell.toml")
    if named or path.is_file():
        for name, value in _read_toml(path).items():
            values[name], origins[name] = value, str(path)
    for name, value in _from_environment(environment):
        values[name], origins[name] = value, variable(name)
    for name, value in (flags or {}).items():
        if value is not None:
            values[name], origins[name] = value, "flag"
    return build(values), origins


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file must be readable: {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file must be TOML: {path}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Return (setting, value) of each variable that is set; a variable that looks like ours but is none is an error."""
    own_names = {variable(name): name for name in Settings.__struct_fields__}
    found: list[tuple[str, Any]] = []
    for key, value in environment.items():
        if key in own_names:
            found.append((own_names[key], _from_text(own_names[key], value)))
        elif key.startswith("UPSWELL_") and key not in INTERNAL_VARIABLES:
            raise SettingsError(f"unknown setting in the environment: {key}{nearest(key, own_names)}")
    return found


INTERNAL_VARIABLES = frozenset(
    {"UPSWELL_CONFIG", "UPSWELL_HEARTBEAT", "UPSWELL_WORKER_ID", "UPSWELL_REQUESTED_AT"}
)
"""Variables that are no settings: the settings file's name, and what a fleet tells the worker it starts."""


def _from_text(name: str, text: str) -> Any:
    """Return an environment variable's text as its setting's type: lists are separated as in PATH, tables are JSON."""
    if name in LISTS:
        return [part for part in text.split(LISTS[name]) if part]
    if name == "apps":
        try:
            return _apps_from_text(text)
        except msgspec.DecodeError as error:
            raise SettingsError(
                f"{variable(name)} must be a JSON object or names separated by commas: {error}"
            ) from error
    return text


def _apps_from_text(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return msgspec.json.decode(text, type=dict[str, Any])
    return {app_id: {} for app_id in text.split(",") if app_id}
