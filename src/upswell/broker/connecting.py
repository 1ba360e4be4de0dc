"""A connection for someone who waits: made within a time, and closed afterwards."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from upswell.broker.registry import open_broker
from upswell.errors import BrokerError
from upswell.safe import masked_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from upswell.broker.protocol import Broker
    from upswell.settings import Settings


async def connect(settings: Settings, role: str, *, patience: float | None = None) -> Broker:
    """Return a connected broker; `role` names the connection.

    Raises:
        BrokerError: it refuses, or cannot be reached within `patience` seconds (None: no limit).
    """
    broker = open_broker(settings, name=unique_name(role))
    try:
        async with asyncio.timeout(patience):
            await broker.connect()
    except TimeoutError:
        await broker.close()
        where = masked_url(settings.broker_url) if settings.broker_url else settings.state_path
        raise BrokerError(f"the broker at {where} did not answer within {patience:g} s") from None
    return broker


@asynccontextmanager
async def connected(
    settings: Settings, role: str, *, patience: float | None = None
) -> AsyncGenerator[Broker]:
    """Yield a broker, connected as `connect` does, and close it afterwards."""
    broker = await connect(settings, role, patience=patience)
    try:
        yield broker
    finally:
        await broker.close()


def unique_name(role: str) -> str:
    """Return a name that is unique among processes, for a connection or a private queue."""
    return f"{role}-{os.getpid()}-{secrets.token_hex(4)}"
