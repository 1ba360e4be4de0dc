"""Load settings from flags, environment and a TOML file, and record where each value came from."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import SettingsError
from upswell.registry import nearest
from upswell.settings.applications import PER_APP, SETTINGS, Settings, checked
from upswell.settings.fields import REMOVED
from upswell.settings.tables import KINDS, dotted_of_variable, merged, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INTERNAL_VARIABLES = frozenset(
    {
        "UPSWELL_CONFIG",
        "UPSWELL_HEARTBEAT",
        "UPSWELL_REQUESTED_AT",
        "UPSWELL_SECRETS",
        "UPSWELL_WORKER_ID",
    }
)
"""Variables that are not settings: names of the settings file and of a folder of secrets, and what a fleet
passes to a worker it starts."""


_SERVICE_LINK = re.compile(
    r"UPSWELL_\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""Variables that Kubernetes sets in each pod for a Service whose name begins with upswell-."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    setting = SETTINGS.get(name)
    return setting.variable if setting and setting.variable else f"UPSWELL_{name.upper()}"


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Return the settings, and for each its origin: `flag`, the variable, the file, or `default`.

    A setting in a table has its dotted name: `fleets.docker.image`.

    Args:
        flags: setting -> value from the command line; None: not given.
        environment: by default the process's.
        file: the TOML file; by default `UPSWELL_CONFIG`, else `upswell.toml` in the current folder if it exists.

    Raises:
        SettingsError: a setting is unknown (a similar one is suggested) or invalid.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    named = file or environment.get("UPSWELL_CONFIG")
    path = Path(named) if named else Path("upswell.toml")
    if named or path.is_file():
        for name, value in _read_toml(path).items():
            _put(values, origins, name, value, str(path))
    for key, name, value in _from_environment(environment):
        _put(values, origins, name, value, key)
    for name, value in (flags or {}).items():
        if value is not None:
            _put(values, origins, name, value, "flag")
    return checked(values), origins


def load_settings(
    config: str | Path | None, flags: Mapping[str, Any], apps: tuple[str, ...] = ()
) -> tuple[Settings, dict[str, str]]:
    """Return the settings and their origins; `apps`, if given, are the only applications.

    A flag also overrides an application's own table.

    Raises:
        SettingsError: a setting is unknown or invalid.
    """
    settings, origins = load(flags, file=config)
    typed = {name for name, value in flags.items() if value is not None}
    tables = {app: _without(settings.apps.get(app, {}), typed) for app in apps or settings.apps}
    if tables == settings.apps:
        return settings, origins
    return load({**flags, "apps": tables}, file=config)


def _without(table: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """Return an application's table without what flags set: `slots`, or `fleets.docker.image`."""
    kept = {name: value for name, value in table.items() if name not in typed & PER_APP}
    for kind, entry, setting in (name.split(".", 2) for name in typed if name.count(".") == 2):  # noqa: PLR2004 - kind.entry.setting
        if setting in kept.get(kind, {}).get(entry, {}):
            own = {name: value for name, value in kept[kind][entry].items() if name != setting}
            kept[kind] = {**kept[kind], entry: own}
    return kept


def _put(values: dict[str, Any], origins: dict[str, str], name: str, value: Any, origin: str) -> None:
    """Override one value; tables are merged setting by setting."""
    kind, _, rest = name.partition(".")
    entry, _, setting = rest.rpartition(".")
    if kind == "apps" and isinstance(value, str):
        value = _tables_from_text(name, value)
    if kind not in KINDS:
        values[name], origins[name] = value, origin
        return
    if rest:
        if not setting or not entry:
            raise SettingsError(
                f"unknown setting: {name}; settings in tables are written like fleets.docker.image"
            )
        value = {entry: {setting: value}}
    own = tables_of(_tables_from_text(name, value) if isinstance(value, str) else value, kind)
    values[kind] = merged(values.get(kind, {}), own)
    for entry, table in own.items():
        origins.update({f"{kind}.{entry}.{setting}": origin for setting in table})
    origins[kind] = origin


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file is not valid TOML: {path}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (variable, setting, text) of each variable that is set; an unknown UPSWELL_ variable is an error."""
    names = {variable(name): name for name in SETTINGS}
    removed = {variable(name): name for name in REMOVED}
    for key, text in environment.items():
        if key in names:
            yield key, names[key], text
        elif key in removed:
            raise SettingsError(f"{key} is no longer a setting: {REMOVED[removed[key]]}")
        elif key.startswith("UPSWELL_") and key not in INTERNAL_VARIABLES:
            name = dotted_of_variable(key)
            if name is not None:
                yield key, name, text
            elif not _SERVICE_LINK.fullmatch(key):
                raise SettingsError(f"unknown setting in the environment: {key}{nearest(key, names)}")


def _tables_from_text(name: str, text: str) -> dict[str, Any]:
    """Return a variable's tables: JSON, or for applications also just their names."""
    if name == "apps" and not text.lstrip().startswith("{"):
        return {app_id: {} for app_id in text.split(",") if app_id}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        names = " or names separated by commas" if name == "apps" else ""
        raise SettingsError(f"{variable(name)} must be a JSON object{names}: {error}") from error
