"""Construct the monitor for `monitor`, `up` and `demo`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from upswell.broker.heartbeat import beating
from upswell.broker.leadership import standing
from upswell.cli.connection import unique_name
from upswell.cli.journals import journal_path
from upswell.journal import Journal, KeptByApp
from upswell.messages import ByHand
from upswell.monitor import Monitor, MonitorCandidate
from upswell.monitor.epochs import Epochs
from upswell.monitor.rehearsals import Rehearsals, kept_choices

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker import Broker
    from upswell.settings import Settings


@asynccontextmanager
async def monitoring(
    settings: Settings, broker: Broker, on_decision: Callable[[Snapshot, Decision], None] | None = None
) -> AsyncGenerator[MonitorCandidate]:
    """Yield a monitor, not yet running, that leads or waits; close its journal afterwards."""
    journal = Journal(journal_path(settings), settings.journal_max_bytes)
    try:
        name, epochs = unique_name("monitor"), Epochs()
        async with standing(broker, "monitor", settings.report_queue) as leadership:

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
