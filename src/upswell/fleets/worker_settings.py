"""Which settings a worker runs: a hash in its status, and the scaler's record of what stands behind it.

In: settings of one application. Out: text by name, its hash, a file in the state folder for each hash. It
knows neither fleets nor workers.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from upswell.fleets.environment import NOT_A_WORKERS, worker_environment
from upswell.settings import SETTINGS, variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from upswell.settings import Settings

_OF_OTHERS = (
    "broker_url",
    "fleet",
    "journal_max_bytes",
    "max_workers_total",
    "priority",
    "slo",
    "start_timeout",
)
"""Settings that no worker reads, besides those that decisions depend on; and the URL: it has a password."""

MOST_KEPT = 50
"""Records of settings; the oldest are deleted."""


def worker_settings(settings: Settings, app_id: str) -> dict[str, str]:
    """Return, as text by name, the settings that make a difference to a worker and are not the default.

    The same on both sides of `worker_environment`.
    """
    environment = worker_environment(settings, app_id)
    told = {name: environment.get(variable(name)) for name in SETTINGS if _matters(name)}
    return {name: text for name, text in told.items() if text is not None}


def settings_hash(told: Mapping[str, str]) -> str:
    """Return a text that differs where two workers' settings do."""
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:12]


def _matters(name: str) -> bool:
    return name == "slots" or not (SETTINGS[name].decides or name in (*NOT_A_WORKERS, *_OF_OTHERS))


def remember_settings(state_path: Path, told: Mapping[str, str]) -> None:
    """Keep the settings that a worker is started with, for who finds their hash in a status.

    Raises:
        OSError: they cannot be written.
    """
    path = _path(state_path, settings_hash(told))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".new")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
        file.write(msgspec.json.encode(told))
    whole.replace(path)
    for old in sorted(path.parent.glob("*.json"), key=lambda kept: kept.stat().st_mtime)[:-MOST_KEPT]:
        old.unlink(missing_ok=True)


def recall_settings(state_path: Path, hashed: str) -> dict[str, str] | None:
    """Return the settings behind a hash, None where this folder's scaler started no worker with them."""
    try:
        return msgspec.json.decode(_path(state_path, hashed).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _path(state_path: Path, hashed: str) -> Path:
    return state_path / "settings" / f"{hashed}.json"
