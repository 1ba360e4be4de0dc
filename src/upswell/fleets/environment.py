"""The settings of one application as variables, so that a worker started with them loads the same settings.

What comes in: settings. What goes out: text. It must not know what a worker runs as, nor read this process's
environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import SettingsError
from upswell.settings import SETTINGS, Settings, variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upswell.fleets.protocol import WorkerSpec


_NOT_A_WORKERS = ("apps", "fleets", "policies")

CREDENTIALS = ("AWS_*", "AZURE_*", "GOOGLE_*", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What the stores' credentials and authorities stand in, as the vendors' tools read them."""


def worker_environment(settings: Settings, app_id: str) -> dict[str, str]:
    """Return the variables from which `settings.load()` in a worker makes the same settings.

    Only what differs from the defaults is passed. Folders become absolute, and no settings file is read in
    the worker: a file that happens to lie in its folder must not change what the scaler decided.

    Args:
        settings: as they hold for the application: `settings.for_app(app_id)`.
        app_id: the one application that the worker may serve.

    Raises:
        SettingsError: a value cannot stand in a variable.
    """
    default = Settings()
    environment = {"UPSWELL_CONFIG": os.devnull}
    for name in SETTINGS:
        value = getattr(settings, name)
        if name not in _NOT_A_WORKERS and value != getattr(default, name):
            environment[variable(name)] = _as_text(name, value)
    environment[variable("state_dir")] = str(settings.state_path)
    environment[variable("apps")] = app_id
    return environment


def passed_on(patterns: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `CREDENTIALS`, and those that match a pattern: a name, or a beginning and `*`.

    Never a setting's: a worker's settings are what the scaler decided.

    >>> passed_on(["PGHOST"], {"AWS_REGION": "eu-central-1", "PGHOST": "db", "HOME": "/root"})
    {'AWS_REGION': 'eu-central-1', 'PGHOST': 'db'}
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("UPSWELL_")
        and name != variable("broker_url")
        and any(_matches(name, pattern) for pattern in (*CREDENTIALS, *patterns))
    }


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def identity(worker: WorkerSpec) -> dict[str, str]:
    """Return the variables that tell a worker who it is, and when it was asked for."""
    return {"UPSWELL_WORKER_ID": worker.worker_id, "UPSWELL_REQUESTED_AT": repr(worker.requested_at)}


def absolute_folder(path: str) -> str:
    """Return a folder's absolute path; what has a scheme (`file://`, `s3://`) is left as it is."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _as_text(name: str, value: Any) -> str:
    setting = SETTINGS[name]
    if isinstance(value, dict):
        text = msgspec.json.encode(value).decode()
    elif setting.separator:
        parts = [absolute_folder(part) if setting.path else part for part in value]
        if wrong := next((part for part in parts if setting.separator in part), None):
            raise SettingsError(
                f"{name} must hold no {setting.separator!r}, which separates values, got {wrong!r}"
            )
        text = setting.separator.join(parts)
    else:
        text = absolute_folder(value) if setting.path else str(value)
    if "\0" in text:
        raise SettingsError(f"{name} must hold no NUL character, got {text!r}")
    return text
