"""Asks a scaler for workers, as a monitor does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.errors import UnroutableError
from upswell.messages import ScaleRequest, encode

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker
    from upswell.settings import Settings


async def ask_for_workers(broker: Broker, settings: Settings, app_id: str, workers: int) -> None:
    """Request a number of workers; wait for a scaler that listens."""
    request = ScaleRequest(
        app_id=app_id, desired_workers=workers, decided_at=time.time(), reason="a test", epoch=1
    )
    message = Message(body=encode(request), exchange=topology.scaling_exchange(settings.report_queue))
    async with asyncio.timeout(60):
        while True:
            try:
                return await broker.publish(message)
            except UnroutableError:  # the scaler does not listen yet
                await asyncio.sleep(0.1)
