"""The queues that one RabbitMQ connection declared: made where missing, used as they are where they differ.

In come queues of the topology, out go queue.declare and at most one warning a queue; imports no pika.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from upswell.broker.rabbitmq.channel import (
    ACCESS_REFUSED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    RefusedError,
)
from upswell.broker.rabbitmq.queue_arguments import as_it_is, declaration, weaker
from upswell.errors import QueueMismatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from upswell.broker.rabbitmq.queue_arguments import Declaration
    from upswell.broker.topology import Queue


class Call(Protocol):
    """Asks the server: a method's name and arguments in, the frame that answers out."""

    def __call__(self, method: str, **arguments: Any) -> Awaitable[Any]:
        """Ask; a RefusedError says that the server refused."""
        ...


class DeclaredQueues:
    """What was declared, to be declared again on the next connection, and what each turned out to be."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._queues: dict[str, Queue] = {}
        self._classic: set[str] = set()
        self._warned: set[str] = set()

    def names(self) -> list[str]:
        """Return the names of all declared queues."""
        return list(self._queues)

    def get(self, name: str) -> Queue | None:
        """Return a queue as it was declared."""
        return self._queues.get(name)

    def is_classic(self, name: str) -> bool:
        """Whether a declared queue is a classic one, which counts no attempts."""
        return name in self._classic

    def forget(self, name: str) -> None:
        """Declare a queue no more: it was deleted."""
        self._queues.pop(name, None)
        self._classic.discard(name)

    async def declare(self, queue: Queue, call: Call) -> None:
        """Make a queue, its exchange and binding, and remember it.

        Raises:
            QueueMismatchError: what is there cannot do the job.
            RefusedError: no permission.
        """
        wish = declaration(queue)
        try:
            if queue.bound_to:
                await call("exchange_declare", exchange=queue.bound_to, exchange_type="fanout", durable=True)
            found, differences = await _find(queue.name, wish, call)
            if queue.bound_to:
                await call("queue_bind", queue=queue.name, exchange=queue.bound_to)
        except RefusedError as error:
            if error.code in (RESOURCE_LOCKED, PRECONDITION_FAILED):
                raise QueueMismatchError(
                    f"queue {queue.name} is in use for something else: {error.text}"
                ) from error
            raise
        if found.is_stream or found.exclusive != wish.exclusive:
            what = "a stream" if found.is_stream else "exclusive" if found.exclusive else "not exclusive"
            raise QueueMismatchError(f"queue {queue.name} is in use for something else: it is {what}")
        self._queues[queue.name] = queue
        if found.is_classic:
            self._classic.add(queue.name)
        if differences and queue.name not in self._warned:
            self._warned.add(queue.name)
            self._log.warning("broker.queue_differs", queue=queue.name, weaker=weaker(differences))

    async def prepare(self, name: str, call: Call) -> None:
        """Declare a known queue again; one that was never declared here must be there already.

        Raises:
            BrokerError: as `declare`, or no such queue.
        """
        queue = self._queues.get(name)
        if queue is not None:
            await self.declare(queue, call)
        else:
            await call("queue_declare", queue=name, passive=True)


async def _find(name: str, wish: Declaration, call: Call) -> tuple[Declaration, list[str]]:
    """Declare a queue; return what it is, and in which arguments that differs from the wish.

    The server names one difference at a time, so the question is put again with the answer in it.
    """
    differences: list[str] = []
    while True:
        try:
            await call(
                "queue_declare",
                queue=name,
                durable=wish.durable,
                exclusive=wish.exclusive,
                auto_delete=wish.auto_delete,
                arguments=wish.arguments,
            )
        except RefusedError as error:
            found = as_it_is(wish, error.text) if error.code == PRECONDITION_FAILED else None
            if found is not None and found[0] not in differences:
                differences.append(found[0])
                wish = found[1]
                continue
            if error.code not in (ACCESS_REFUSED, PRECONDITION_FAILED):
                raise
            # Not ours to configure, or different in a way that we cannot read: is it at least there?
            await call("queue_declare", queue=name, passive=True)
            differences.append("declaration")
        return wish, differences
