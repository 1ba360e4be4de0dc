"""What a running monitor or scaler takes over from changed settings, and what only a restart does. Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from upswell.settings.applications import Settings

NEEDS_RESTART = (
    "broker_url",
    "brokers",
    "state_dir",
    "report_queue",
    "window",
    "decision_interval",
    "journal_max_bytes",
    "fleet",
    "fleets",
    "log_format",
    "webhook_url",
    "webhook_headers",
)
"""What connections, queues, files and all that was observed are made with."""


class ReloadedSettings(Struct, frozen=True):
    """The settings to go on with; the names that `changed`, and those that keep their value until a restart."""

    settings: Settings
    changed: tuple[str, ...]
    kept: tuple[str, ...]


def reloaded(old: Settings, new: Settings) -> ReloadedSettings:
    """Return what becomes of the `old` settings where the `new` ones were read."""
    differ = [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    kept = tuple(name for name in differ if name in NEEDS_RESTART)
    settings = replace(new, **{name: getattr(old, name) for name in kept})
    return ReloadedSettings(settings, tuple(name for name in differ if name not in kept), kept)
