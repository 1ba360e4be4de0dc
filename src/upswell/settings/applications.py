"""The settings as the rest of Upswell reads them: per application, and with values derived from several settings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from upswell.errors import SettingsError
from upswell.messages import APP_ID_PATTERN
from upswell.registry import installed, nearest
from upswell.safe import masked_url, safe
from upswell.settings.checking import build, refuse_one_slash
from upswell.settings.fields import REMOVED, Fields
from upswell.settings.setting import settings_of
from upswell.settings.slo import Slo
from upswell.settings.tables import KINDS, check_tables, merged, tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Own = TypeVar("Own", bound=Struct)

FIRST_SLOTS = 4
"""Slots that slots = "auto" starts with."""

ASSUMED_START_COST = 0.8
"""Seconds: a process worker took 0.4 of a processor until it was ready, and its start and end as much again."""

_SCHEMES = {"": "embedded", "amqp": "rabbitmq", "amqps": "rabbitmq"}


class Settings(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings; `upswell config check` prints them with their origins."""

    def for_app(self, app_id: str) -> Settings:
        """Return the settings of one application; its `destination` is always set.

        Raises:
            SettingsError: the application's table has an unknown setting or an invalid value.
        """
        own = self.apps.get(app_id)
        found = self
        if own:
            tables = {
                kind: merged(getattr(self, kind), tables_of(own[kind], f"apps.{app_id}.{kind}"))
                for kind in KINDS
                if kind in own
            }
            values: dict[str, Any] = {**msgspec.structs.asdict(self), **own, **tables, "apps": {}}
            found = checked(values, f"apps.{app_id}.")
        destination = found.destination_path.replace("{app_id}", app_id)
        return msgspec.structs.replace(found, apps=self.apps, destination=destination)

    def own(self, kind: str, name: str, struct: type[Own]) -> Own:
        """Return the settings of one fleet, handler or policy: `own("fleets", "docker", DockerSettings)`.

        Raises:
            SettingsError: a setting in it is unknown or invalid.
        """
        return build(struct, getattr(self, kind).get(name, {}), f"{kind}.{name}.")

    def upload_queue_of(self, app_id: str) -> str:
        """Return the name of an application's upload queue."""
        template: str = self.apps.get(app_id, {}).get("upload_queue", self.upload_queue)
        return template.replace("{app_id}", app_id)

    @property
    def objective(self) -> Slo:
        """The parsed `slo`."""
        return Slo.parse(self.slo)

    @property
    def auto_slots(self) -> bool:
        """Whether workers choose their number of slots automatically."""
        return self.slots == "auto"

    @property
    def initial_slots(self) -> int:
        """Slots that a worker starts with."""
        return FIRST_SLOTS if self.slots == "auto" else self.slots

    @property
    def assumed_start_cost(self) -> float:
        """`start_cost`; where it is measured, what is taken for it until then."""
        return ASSUMED_START_COST if self.start_cost == "auto" else self.start_cost

    @property
    def fixed_standby(self) -> int:
        """Workers on standby whatever happens: none where their number is chosen."""
        return 0 if self.standby_workers == "auto" else self.standby_workers

    @property
    def state_path(self) -> Path:
        """`state_dir` as a path; by default the XDG state folder."""
        if self.state_dir:
            return Path(self.state_dir).expanduser().absolute()
        return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser().absolute() / "upswell"

    @property
    def destination_path(self) -> str:
        """`destination`, or a folder in the state folder; `{app_id}` in it is replaced by `for_app`."""
        return self.destination or str(self.state_path / "store" / "{app_id}")

    @property
    def stores_in_state_path(self) -> bool:
        """Whether the destination lies in the state folder, of which each machine has its own."""
        folder = self.destination_path.removeprefix("file://")
        return "://" not in folder and Path(folder).expanduser().absolute().is_relative_to(self.state_path)

    @property
    def broker(self) -> str:
        """The broker's name in its registry, from the scheme of `broker_url`."""
        scheme = self.broker_url.partition("://")[0]
        return _SCHEMES.get(scheme, scheme)

    def rules_text(self) -> str:
        """Read and return the text of `rules_file`.

        Raises:
            SettingsError: the file does not exist or cannot be read.
        """
        try:
            return Path(self.rules_file).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read rules_file {self.rules_file}: {error}") from error


SETTINGS = settings_of(Settings)
"""Every setting, in order, with its description."""

PER_APP = frozenset(name for name, setting in SETTINGS.items() if setting.app)
"""The settings allowed in an application's table."""

DECIDING = tuple(name for name, setting in SETTINGS.items() if setting.decides)
"""The settings that decisions depend on."""


def checked(values: Mapping[str, Any], where: str = "") -> Settings:
    """Return the settings with these values, each checked alone and together.

    Raises:
        SettingsError: a setting is unknown, was removed, or is invalid.
    """
    for name in values:
        if name in REMOVED:
            raise SettingsError(f"{where}{name} is no longer a setting: {REMOVED[name]}")
    settings = build(Settings, values, where)
    try:
        Slo.parse(settings.slo)
    except SettingsError as error:
        raise SettingsError(f"{where}{error}") from None
    _check_workers(settings, where)
    if bool(settings.keda_tls_certificate) != bool(settings.keda_tls_key) or (
        settings.keda_tls_client_ca and not settings.keda_tls_certificate
    ):
        raise SettingsError(
            f"{where}keda_tls_certificate and keda_tls_key must be set together, and keda_tls_client_ca only with "
            f"them, got {settings.keda_tls_certificate!r}, {settings.keda_tls_key!r}, {settings.keda_tls_client_ca!r}"
        )
    if settings.broker not in _SCHEMES.values() and settings.broker not in {
        point.name for point in installed("upswell.brokers")
    }:
        raise SettingsError(
            f"broker_url must start with amqp:// or amqps://, got {masked_url(settings.broker_url)!r}"
        )
    _check_homes(settings, where)
    refuse_one_slash(settings.destination, f"{where}destination")
    for store in settings.source_stores:
        refuse_one_slash(store, f"{where}source_stores")
    for kind in KINDS:
        check_tables(kind, getattr(settings, kind), where)
    if settings.apps:
        _check_apps(settings)
    return settings


def _check_workers(settings: Settings, where: str) -> None:
    if settings.max_workers < settings.min_workers:
        raise SettingsError(
            f"{where}max_workers must be >= min_workers ({settings.min_workers}), got {settings.max_workers}"
        )
    if settings.standby_workers == "auto" and settings.policy != "slo":
        raise SettingsError(
            f'{where}standby_workers = "auto" needs policy = "slo", which rehearses their number, '
            f"got {settings.policy!r}"
        )


def _check_homes(settings: Settings, where: str) -> None:
    named = {name: [getattr(settings, name)] for name in ("state_dir", "destination", "rules_file")}
    for name, folders in {**named, "source_roots": settings.source_roots}.items():
        for folder in folders:
            try:
                Path(folder.removeprefix("file://")).expanduser()
            except RuntimeError:
                raise SettingsError(
                    f"{where}{name} must begin with the home folder of a user that exists, got {safe(folder)}"
                ) from None


def _check_apps(settings: Settings) -> None:
    queues: dict[str, str] = {}
    standby = 0
    for app_id, own in settings.apps.items():
        if not re.match(APP_ID_PATTERN, app_id):
            raise SettingsError(
                f"an application's name must be 1 to 64 letters, digits, '_' or '-', got {app_id[:80]!r}"
            )
        for name in own:
            if name not in PER_APP and name not in REMOVED:
                why = (
                    "it applies to all applications"
                    if name in SETTINGS
                    else f"unknown{nearest(name, PER_APP)}"
                )
                raise SettingsError(f"apps.{app_id}.{name} cannot be set per application: {why}")
        standby += settings.for_app(app_id).fixed_standby
        queue = settings.upload_queue_of(app_id)
        if queue in queues:
            raise SettingsError(
                f"upload_queue must differ between applications, got {queue} for {queues[queue]} and {app_id}"
            )
        queues[queue] = app_id
    if 0 < settings.max_workers_total <= standby:
        raise SettingsError(
            f"max_workers_total must be 0 or > the sum of all standby_workers ({standby}), "
            f"got {settings.max_workers_total}"
        )
