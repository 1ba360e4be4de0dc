"""Construct the scaler for `scaler`, `up` and `demo`; the monitor, which imports more, stands elsewhere."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from upswell.broker.heartbeat import beating
from upswell.broker.leadership import standing
from upswell.cli.connection import unique_name
from upswell.errors import SettingsError
from upswell.fleets.registry import open_fleet
from upswell.journal import KeptByApp
from upswell.messages import ScaleRequest
from upswell.scaler import Scaler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from upswell.broker import Broker
    from upswell.settings import Settings


def check_apps(settings: Settings) -> None:
    """Raise a SettingsError if the settings have no application."""
    if not settings.apps:
        raise SettingsError(
            "no application to scale: give --app X, set UPSWELL_APPS=X, or add [apps.X] to upswell.toml"
        )


@asynccontextmanager
async def scaling(settings: Settings, broker: Broker) -> AsyncGenerator[Scaler]:
    """Yield a scaler, not yet running, that leads or waits; close its fleet afterwards, not its workers."""
    fleet = open_fleet(settings)
    try:
        async with standing(broker, "scaler", settings.report_queue) as leadership:
            scaler = Scaler(
                broker=broker,
                fleet=fleet,
                settings=settings,
                name=unique_name("scaler"),
                by_hand=KeptByApp(settings.state_path / "scaler.by_hand.json", ScaleRequest),
                leadership=leadership,
            )
            async with beating(broker, scaler.part_status):
                yield scaler
    finally:
        await fleet.close()
