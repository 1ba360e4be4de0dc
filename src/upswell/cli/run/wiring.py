"""Construct the monitor and the scaler for `monitor`, `scaler`, `up` and `demo`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from upswell.broker import topology
from upswell.broker.heartbeat import beating
from upswell.cli.connection import unique_name
from upswell.cli.journals import journal_path
from upswell.errors import SettingsError
from upswell.fleets.registry import open_fleet
from upswell.journal import Journal, KeptByApp
from upswell.messages import ByHand, ScaleRequest
from upswell.monitor import Monitor, MonitorCandidate
from upswell.monitor.epochs import Epochs
from upswell.monitor.rehearsals import Rehearsals, kept_choices
from upswell.scaler import Scaler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker import Broker
    from upswell.broker.leadership import Leadership
    from upswell.messages import PartName
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
) -> AsyncGenerator[MonitorCandidate]:
    """Yield a monitor, not yet running, that leads or waits; close its journal afterwards."""
    journal = Journal(journal_path(settings), settings.journal_max_bytes)
    try:
        name, epochs = unique_name("monitor"), Epochs()
        async with standing(broker, "monitor", settings) as leadership:

            def monitor(settings: Settings) -> Monitor:
                return Monitor(
                    broker=broker,
                    settings=settings,
                    journal=journal,
                    name=name,
                    leadership=leadership,
                    epochs=epochs,
                    on_decision=on_decision,
                    by_hand=KeptByApp(settings.state_path / "monitor.by_hand.json", ByHand),
                    rehearsals=Rehearsals(settings.decision_interval, kept=kept_choices(settings.state_path)),
                )

            candidate = MonitorCandidate(monitor, settings)
            async with beating(broker, candidate.part_status):
                yield candidate
    finally:
        await asyncio.to_thread(journal.close)  # beside the broker's heartbeats: a disk may stand still


@asynccontextmanager
async def scaling(settings: Settings, broker: Broker) -> AsyncGenerator[Scaler]:
    """Yield a scaler, not yet running, that leads or waits; close its fleet afterwards, not its workers."""
    fleet = open_fleet(settings)
    try:
        async with standing(broker, "scaler", settings) as leadership:
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


@asynccontextmanager
async def standing(broker: Broker, part: PartName, settings: Settings) -> AsyncGenerator[Leadership]:
    """Stand for the leadership of an installation's monitors, or of its scalers, while the context lasts."""
    leadership = await broker.lead(topology.role(part, settings.report_queue))
    try:
        yield leadership
    finally:
        await leadership.close()
