"""The settings of one application as environment variables, from which its worker loads the same settings.

In: settings. Out: text. It knows no fleet and does not read this process's environment.
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


NOT_A_WORKERS = (
    "apps",
    "fleets",
    "metrics",
    "metrics_apps",
    "policies",
    "worker_metrics",
    *(name for name, setting in SETTINGS.items() if setting.secret),
)

CREDENTIALS = ("AWS_*", "AZURE_*", "GOOGLE_*", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables with store credentials and CA certificates, as the vendors' tools read them."""


_SHOWN = ("UPSWELL_*", "PYTHON*", "LD_*", "PATH", "HOME", "LANG", "LC_*", "TZ")


def worker_environment(settings: Settings, app_id: str) -> dict[str, str]:
    """Return the variables from which `settings.load()` in a worker builds the same settings.

    Only values that differ from the defaults are passed. Folders become absolute. The worker reads no
    settings file: a file in its folder must not override the scaler's settings. `settings` are those of the
    application: `settings.for_app(app_id)`.

    Raises:
        SettingsError: a value cannot be passed in a variable.
    """
    default = Settings()
    environment = {"UPSWELL_CONFIG": os.devnull}
    for name in SETTINGS:
        value = getattr(settings, name)
        if name not in NOT_A_WORKERS and value != getattr(default, name):
            environment[variable(name)] = _as_text(name, value)
    if settings.worker_metrics:
        environment[variable("metrics")] = settings.worker_metrics
    environment[variable("state_dir")] = str(settings.state_path)
    environment[variable("apps")] = app_id
    return environment


def passed_on(patterns: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `CREDENTIALS` and those that match a pattern: a name, or a prefix and `*`.

    Settings are never passed this way: the scaler determines a worker's settings.

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


def parted(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return a worker's environment in two parts: what may be shown, and what may be secret.

    Settings are shown, and what an interpreter reads before our code runs. All else may be secret: the
    broker's URL, a store's credentials, and whatever `worker_variables` names.

    >>> parted({"UPSWELL_APPS": "a1", "AMQPURL": "amqp://me:secret@host", "PYTHONPATH": "/opt"})
    ({'UPSWELL_APPS': 'a1', 'PYTHONPATH': '/opt'}, {'AMQPURL': 'amqp://me:secret@host'})
    """
    shown = {name: value for name, value in environment.items() if any(_matches(name, p) for p in _SHOWN)}
    return shown, {name: value for name, value in environment.items() if name not in shown}


def identity(worker: WorkerSpec) -> dict[str, str]:
    """Return the variables with a worker's id and the time it was requested."""
    return {"UPSWELL_WORKER_ID": worker.worker_id, "UPSWELL_REQUESTED_AT": repr(worker.requested_at)}


def absolute_folder(path: str) -> str:
    """Return a folder's absolute path; URIs (`file://`, `s3://`) are unchanged."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _as_text(name: str, value: Any) -> str:
    setting = SETTINGS[name]
    if isinstance(value, dict):
        text = msgspec.json.encode(value).decode()
    elif setting.separator:
        parts = [absolute_folder(part) if setting.path else part for part in value]
        if wrong := next((part for part in parts if setting.separator in part), None):
            raise SettingsError(
                f"{name} must not contain {setting.separator!r}, the separator of its values, got {wrong!r}"
            )
        text = setting.separator.join(parts)
    else:
        text = absolute_folder(value) if setting.path else str(value)
    if "\0" in text:
        raise SettingsError(f"{name} must not contain a NUL character, got {text!r}")
    return text
