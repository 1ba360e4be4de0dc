"""The hosts of a cluster, of which any serves: at each connection the next is tried, and those after it.

What comes in: addresses. What goes out: an open connection to one of them. It must not know queues.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from upswell.broker.rabbitmq import pika_client
from upswell.broker.rabbitmq.channel import LostError
from upswell.errors import BrokerError

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from upswell.broker.rabbitmq.url import Address


class Hosts:
    """Opens connections; each process begins with another host, so that a cluster shares the load."""

    def __init__(self, addresses: Sequence[Address], name: str, rng: random.Random) -> None:
        self._addresses = deque(rng.sample(list(addresses), len(addresses)))
        self._name = name

    async def open(self) -> Any:
        """Return a new connection to the first host that answers.

        Raises:
            LostError: none can be reached now, or some cannot and the others refuse.
            BrokerError: each refuses.
        """
        errors: list[BrokerError] = []
        for _ in range(len(self._addresses)):
            address = self._addresses[0]
            self._addresses.rotate(-1)
            try:
                return await pika_client.open_connection(address, self._name)
            except BrokerError as error:
                errors.append(error)
        text = "; ".join(map(str, errors))
        if any(isinstance(error, LostError) for error in errors):
            raise LostError(text)
        raise BrokerError(text)
