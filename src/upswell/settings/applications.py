"""The settings as the parts read them: those of one application, and what follows from several of them."""

from __future__ import annotations

import math
import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from upswell.errors import SettingsError
from upswell.messages import APP_ID_PATTERN
from upswell.safe import safe
from upswell.settings.fields import PER_APP, Fields
from upswell.settings.slo import Slo
from upswell.settings.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = {"": "embedded", "amqp": "rabbitmq", "amqps": "rabbitmq"}


class Settings(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, each with its reason; `upswell config check` prints them with their origins."""

    def for_app(self, app_id: str) -> Settings:
        """Return the settings as they hold for one application.

        Raises:
            SettingsError: the application's table has an unknown setting or breaks a rule.
        """
        own = self.apps.get(app_id)
        if not own:
            return self
        values: dict[str, Any] = {**msgspec.structs.asdict(self), **own, "apps": {}}
        if "slots" in own and "auto_slots" not in own:  # a number of its own stands over "auto" for all
            values["auto_slots"] = False
        return msgspec.structs.replace(build(values, where=f"[apps.{app_id}] "), apps=self.apps)

    @property
    def objective(self) -> Slo:
        """The parsed `slo`."""
        return Slo.parse(self.slo)

    @property
    def state_path(self) -> Path:
        """`state_dir` as a path: the XDG state folder where nothing else is said."""
        if self.state_dir:
            return Path(self.state_dir).expanduser().absolute()
        return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser().absolute() / "upswell"

    @property
    def broker(self) -> str:
        """The broker's name in its registry, by the scheme of `broker_url`."""
        scheme = self.broker_url.partition("://")[0]
        return _SCHEMES.get(scheme, scheme)

    def rules_text(self) -> str:
        """Return the text of `rules_file`, read now.

        Raises:
            SettingsError: there is no such file, or it cannot be read.
        """
        try:
            return Path(self.rules_file).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"rules_file must be a readable text file: {self.rules_file}: {error}"
            ) from error

    @property
    def destination_path(self) -> str:
        """`destination`, or the store in the state folder."""
        return self.destination or str(self.state_path / "store")


def build(values: Mapping[str, Any], where: str = "") -> Settings:
    """Return checked settings; `where` begins each error.

    Raises:
        SettingsError: a setting is unknown or breaks its rule.
    """
    known = Settings.__struct_fields__
    for name in values:
        if name not in known:
            raise SettingsError(f"{where}unknown setting: {name}{nearest(name, known)}")
    if values.get("slots") == "auto":
        values = {**values, "slots": Settings().slots, "auto_slots": True}
    hints = _hints()
    checked: dict[str, Any] = {}
    for name, value in values.items():
        try:
            checked[name] = msgspec.convert(value, hints[name], strict=False)
        except msgspec.ValidationError as error:
            shown = safe(repr(value))
            raise SettingsError(f"{where}{name} {_rule(str(error))}, got {shown}") from error
        if isinstance(checked[name], float) and not math.isfinite(checked[name]):
            raise SettingsError(f"{where}{name} must be a finite number, got {value}")
    settings = Settings(**checked)
    _check(settings, where)
    return settings


def _rule(error: str) -> str:
    """Return msgspec's sentence as the rule of a setting: ``Expected `int` >= 1`` -> ``must be `int` >= 1``."""
    return "must be " + error.removeprefix("Expected ").split(" - at ")[0]


def _hints() -> dict[str, Any]:
    global _cached_hints  # noqa: PLW0603 - resolving annotations costs milliseconds, once a process is enough
    if _cached_hints is None:
        _cached_hints = get_type_hints(Settings, include_extras=True)
    return _cached_hints


_cached_hints: dict[str, Any] | None = None


def _check(settings: Settings, where: str) -> None:
    """Raise a SettingsError for what no single field's rule says."""
    try:
        Slo.parse(settings.slo)
    except SettingsError as error:
        raise SettingsError(f"{where}{error}") from None
    if settings.max_workers < settings.min_workers:
        raise SettingsError(
            f"{where}max_workers must be >= min_workers ({settings.min_workers}), got {settings.max_workers}"
        )
    if settings.broker not in _SCHEMES.values() and not entry_points(
        group="upswell.brokers", name=settings.broker
    ):
        raise SettingsError(
            f"broker_url must start with amqp:// or amqps://, got {safe(settings.broker_url)!r}"
        )
    standby = 0
    for app_id, own in settings.apps.items():
        _check_app(app_id, own)
        standby += settings.for_app(app_id).standby_workers
    if 0 < settings.max_workers_total <= standby:
        raise SettingsError(
            f"{where}max_workers_total must be 0, or more than all standby_workers together ({standby}), "
            f"got {settings.max_workers_total}"
        )


def _check_app(app_id: str, own: Mapping[str, Any]) -> None:
    if not re.match(APP_ID_PATTERN, app_id):
        raise SettingsError(
            f"an application's name must be 1 to 64 letters, digits, '_' or '-', got {app_id[:80]!r}"
        )
    for name in own:
        if name not in PER_APP:
            raise SettingsError(f"[apps.{app_id}] unknown setting: {name}{nearest(name, PER_APP)}")


def describe(name: str) -> str:
    """Return a setting's reason, as the docs and `upswell config check` show it."""
    for meta in _hints()[name].__metadata__:
        if meta.description:
            return str(meta.description)
    return ""
