"""The embedded broker: one SQLite file for the processes of one machine; `broker.py` lists the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.broker.sqlite.broker import SqliteBroker

if TYPE_CHECKING:
    from upswell.settings import Settings

__all__ = ["SqliteBroker", "open_embedded"]


def open_embedded(settings: Settings, *, name: str) -> SqliteBroker:
    """Return the broker in `state_dir`, not yet connected."""
    return SqliteBroker(settings.state_path / "broker.sqlite", name=name)
