"""Construct the monitor and the scaler for `monitor`, `scaler`, `up` and `demo`."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from upswell.broker.heartbeat import beating
from upswell.cli.connection import unique_name
from upswell.cli.journals import journal_path
from upswell.errors import SettingsError
from upswell.fleets.registry import open_fleet
from upswell.journal import Journal, KeptByApp
from upswell.messages import ByHand, ScaleRequest
from upswell.monitor import Monitor
from upswell.monitor.rehearsals import Rehearsals, kept_choices
from upswell.scaler import Scaler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker import Broker
    from upswell.settings import Settings


def check_apps(settings: Settings) -> None:
    """Raise a SettingsError if the settings have no application."""
    if not settings.apps:
        raise SettingsError(
            "no application to scale: give --app X, set UPSWELL_APPS=X, or add [apps.X] to upswell.toml"
        )


@asynccontextmanager
async def monitoring(
    settings: Settings, broker: Broker, on_decision: Callable[[Snapshot, Decision], None] | None = None
) -> AsyncGenerator[Monitor]:
    """Yield a monitor, not yet running; close its journal afterwards."""
    journal = Journal(journal_path(settings), settings.journal_max_bytes)
    try:
        journal.remember(settings)
        monitor = Monitor(
            broker=broker,
            settings=settings,
            journal=journal,
            epoch=int(time.time() * 1000),
            name=unique_name("monitor"),
            on_decision=on_decision,
            by_hand=KeptByApp(settings.state_path / "monitor.by_hand.json", ByHand),
            rehearsals=Rehearsals(settings.decision_interval, kept=kept_choices(settings.state_path)),
        )
        async with beating(broker, monitor.pulse.status):
            yield monitor
    finally:
        journal.close()


@asynccontextmanager
async def scaling(settings: Settings, broker: Broker) -> AsyncGenerator[Scaler]:
    """Yield a scaler, not yet running; close its fleet afterwards, its workers keep running."""
    fleet = open_fleet(settings)
    try:
        scaler = Scaler(
            broker=broker,
            fleet=fleet,
            settings=settings,
            name=unique_name("scaler"),
            by_hand=KeptByApp(settings.state_path / "scaler.by_hand.json", ScaleRequest),
        )
        async with beating(broker, scaler.part_status):
            yield scaler
    finally:
        await fleet.close()
