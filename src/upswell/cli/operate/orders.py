"""What the commands of this room share: an order to the monitor, and who gives it."""

from __future__ import annotations

import getpass
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from upswell.broker.orders import Orders
from upswell.cli.connection import PATIENCE_SECONDS, connected, unique_name
from upswell.errors import UpswellError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from upswell.messages import OperatorAnswer, OperatorOrder
    from upswell.settings import Settings


@asynccontextmanager
async def ordering(settings: Settings) -> AsyncGenerator[Orders]:
    """Yield a connection that gives orders, and close it afterwards."""
    async with connected(settings, "orders", patience=PATIENCE_SECONDS) as broker:
        orders = Orders(broker, settings.report_queue, unique_name("orders"))
        await orders.listen()
        yield orders


async def order_monitor(settings: Settings, order: OperatorOrder) -> None:
    """Give an order to the monitor, and print its answer; a refusal is an error, and so is no monitor."""
    async with ordering(settings) as orders:
        answer = await orders.give("monitor", order)
    click.echo(safe(obeyed(answer).text))


def obeyed(answer: OperatorAnswer) -> OperatorAnswer:
    """Return an answer, or raise an UpswellError with its reason where the order was refused."""
    if not answer.accepted:
        raise UpswellError(answer.text)
    return answer


def operator() -> str:
    """Return who types this, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user, in a container
        user = "somebody"
    return re.sub(r"[^\x21-\x7e]", "?", f"{user}@{socket.gethostname()}")[:120]
