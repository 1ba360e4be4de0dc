"""The queues that one RabbitMQ connection declared: made where missing, used as they are where they differ.

Takes queues of the topology, sends queue.declare, logs at most one warning per queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import asdict

from upswell.broker.rabbitmq.channel import (
    ACCESS_REFUSED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    LostError,
    RefusedError,
)
from upswell.broker.rabbitmq.queue_arguments import UNLIMITED, as_it_is, declaration, weaker
from upswell.broker.topology import Queue
from upswell.errors import BrokerError, QueueInUseError, QueueMismatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from upswell.broker.rabbitmq.queue_arguments import Declaration


class Call(Protocol):
    """Asks the server: a method's name and arguments in, the frame that answers out."""

    def __call__(self, method: str, **arguments: Any) -> Awaitable[Any]:
        """Ask; a RefusedError says that the server refused."""
        ...


class DeclaredQueues:
    """What was declared, to be declared again on the next connection, and what each turned out to be."""

    def __init__(self, log: Any, *, compatible: bool) -> None:
        self._log = log
        self._compatible = compatible
        self._queues: dict[str, Queue] = {}
        self._classic: set[str] = set()
        self._fresh: set[str] = set()  # declared on the connection that there is now
        self._warned: set[str] = set()

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
        self._fresh.discard(name)

    def has_single_consumer(self, name: str) -> bool:
        """Whether a queue was declared for one consumer only."""
        queue = self._queues.get(name)
        return queue is not None and queue.single_consumer

    def counts_returns(self, name: str) -> bool:
        """Whether a queue has, or may have, a delivery limit, and a message may be returned only so often."""
        queue = self._queues.get(name)
        return queue is None or queue.delivery_limit is not None

    async def declare(self, queue: Queue, call: Call) -> int:
        """Make a queue, its exchange and binding, and remember it; return how many consumers it has.

        Raises:
            QueueMismatchError: what is there cannot do the job.
            RefusedError: no permission.
        """
        asked = declaration(queue, compatible=self._compatible)
        try:
            if queue.bound_to:
                await call("exchange_declare", exchange=queue.bound_to, exchange_type="fanout", durable=True)
            found, differences, consumers = await _find(queue.name, asked, call)
            if queue.bound_to:
                await call("queue_bind", queue=queue.name, exchange=queue.bound_to)
        except RefusedError as error:
            if error.code in (RESOURCE_LOCKED, PRECONDITION_FAILED):
                raise QueueMismatchError(
                    f"queue {queue.name} is in use for something else: {error.text}"
                ) from error
            raise
        if found.is_stream or found.exclusive != asked.exclusive:
            what = "a stream" if found.is_stream else "exclusive" if found.exclusive else "not exclusive"
            raise QueueMismatchError(f"queue {queue.name} is in use for something else: it is {what}")
        self._queues[queue.name] = queue
        self._fresh.add(queue.name)
        if found.is_classic:
            self._classic.add(queue.name)
        if differences and queue.name not in self._warned:
            self._warned.add(queue.name)
            self._log.warning("broker.queue_differs", queue=queue.name, weaker=weaker(differences))
        return consumers

    async def returns_are_free(self, name: str, call: Call) -> bool:
        """Return whether its messages may be put back any number of times: no delivery limit is at work.

        A quorum queue that was declared without one has the server's default.

        Raises:
            RefusedError: there is no such queue.
        """
        await call("queue_declare", queue=name, passive=True)
        asked = declaration(self._queues.get(name) or Queue(name=name), compatible=self._compatible)
        found, differences, _ = await _find(name, asked, call)
        unlimited = found.is_classic or found.arguments.get("x-delivery-limit") == UNLIMITED
        return unlimited and "declaration" not in differences

    def is_prepared(self, name: str) -> bool:
        """Whether a queue was declared on this connection, and may have several consumers.

        Then it can be consumed without `prepare`, unless somebody has deleted it since.
        """
        return name in self._fresh and not self._queues[name].single_consumer

    async def prepare(self, name: str, call: Call) -> None:
        """Make a queue ready to be consumed; one that was never declared here must be there already.

        Raises:
            QueueInUseError: it allows one consumer and has one.
            BrokerError: as `declare`, or no such queue.
        """
        queue = self._queues.get(name)
        if queue is None:
            await call("queue_declare", queue=name, passive=True)
        elif await self.declare(queue, call) and queue.single_consumer:
            raise QueueInUseError(name)

    async def declare_all(self, call: Call) -> None:
        """Declare all queues again on a new connection.

        Raises:
            LostError: that connection was lost too.
        """
        self._fresh.clear()
        for queue in list(self._queues.values()):
            try:
                await self.declare(queue, call)
            except LostError:
                raise
            except BrokerError as error:  # its consumers, when there are any, try again
                self._log.warning("broker.declare_failed", queue=queue.name, error=error)


async def _find(name: str, asked: Declaration, call: Call) -> tuple[Declaration, list[str], int]:
    """Declare a queue; return what it is, which arguments differ from those asked, and its consumers.

    The server names one difference at a time, so the question is put again with the answer in it.
    """
    differences: list[str] = []
    while True:
        try:
            frame = await call("queue_declare", queue=name, **asdict(asked))
        except RefusedError as error:
            found = as_it_is(asked, error.text) if error.code == PRECONDITION_FAILED else None
            if found is not None and found[0] not in differences:
                differences.append(found[0])
                asked = found[1]
                continue
            if error.code not in (ACCESS_REFUSED, PRECONDITION_FAILED):
                raise
            # Not ours to configure, or different in a way that we cannot read: is it at least there?
            frame = await call("queue_declare", queue=name, passive=True)
            differences.append("declaration")
        return asked, differences, int(frame.method.consumer_count)
