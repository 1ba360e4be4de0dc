"""Which running workers have other settings than these: what a `upswell restart` is needed for."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from upswell import __version__
from upswell.cli.connection import connected
from upswell.cli.text import counted
from upswell.client.roster import listen_to_workers
from upswell.errors import BrokerError
from upswell.fleets.worker_settings import recall_settings, settings_hash, worker_settings
from upswell.safe import safe
from upswell.settings import Settings
from upswell.settings.tables import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from upswell.messages import WorkerStatus

_DEFAULTS = Settings()

PATIENCE_SECONDS = 3.0
"""How long a broker may take to answer: settings can be checked where there is none."""


async def differences(settings: Settings) -> list[str]:
    """Listen to the workers; return in words which run other settings, or another version, than these."""
    if settings.broker == "embedded" and not (settings.state_path / "broker.sqlite").exists():
        return []  # nothing ever ran; to look must not make a broker
    try:
        async with connected(settings, "config", patience=PATIENCE_SECONDS) as broker:
            roster = await listen_to_workers(broker, settings.status_interval)
            workers = roster.workers(time.monotonic())
    except BrokerError as error:
        return [f"whether workers run other settings is unknown: {error}"]
    return [line for app in settings.apps for line in of_app(settings, app, workers)]


def of_app(settings: Settings, app: str, workers: Sequence[WorkerStatus]) -> Iterator[str]:
    """Give a line for each kind of difference that workers of an application have."""
    told = worker_settings(settings.for_app(app), app)
    wanted = settings_hash(told)
    staying = [w for w in workers if w.app_id == app and w.state in ("ready", "standby", "starting")]
    others = Counter(w.settings_hash for w in staying if w.settings_hash and w.settings_hash != wanted)
    versions = Counter(w.version for w in staying if w.version and w.version != __version__)
    restart = f"reload the scaler, then `upswell restart --app {app}`"
    for hashed, count in others.items():
        before = recall_settings(settings.state_path, hashed)
        which = "" if before is None else f" ({changed(before, told)})"
        yield f"{counted(count, 'worker')} of {app} run{'s' * (count == 1)} other settings{which}: {restart}"
    for version, count in versions.items():
        which = f"Upswell {safe(version)}, this is {__version__}"
        yield f"{counted(count, 'worker')} of {app} run{'s' * (count == 1)} {which}: {restart}"


def changed(before: dict[str, str], after: dict[str, str]) -> str:
    """Return which settings are others: `slots 4 → 8`. Of a table only its name: it may hold a secret."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ", ".join(
        name if name in KINDS else f"{name} {_value(name, before)} → {_value(name, after)}" for name in names
    )


def _value(name: str, told: dict[str, str]) -> str:
    default = getattr(_DEFAULTS, name)
    text = told.get(name, "" if isinstance(default, list) or default is None else str(default))
    return safe(text, 60) or "not set"
