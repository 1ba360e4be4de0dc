"""How many messages of a queue are ready, and how many consumers it has.

In: a channel that asks. Out: two numbers. Seen on RabbitMQ 4.0.5: it waits 0.25 s for what a quorum queue's
leader says, and then answers that nothing is ready and nobody consumes. A queue in trouble would look idle.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.broker.rabbitmq.queues import Call

_LEADER_SECONDS = 0.25

_PATIENCE_SECONDS = 2.0
"""A queue whose leader is silent for longer is said to be empty after all, as RabbitMQ does."""

_TRIES = 3
_THERE_IN_EACH = "amq.fanout"


async def queue_counts(call: Call, queue: str) -> tuple[int, int]:
    """Return a queue's ready messages and its consumers; asked again where 0 and 0 only mean "unknown".

    Raises:
        RefusedError: there is no such queue.
    """
    given_up_at = math.inf  # counted from the first answer: a question may have waited for others
    while True:
        asked_at = time.monotonic()
        frame = await call("queue_declare", queue=queue, passive=True)
        took = time.monotonic() - asked_at
        counts = int(frame.method.message_count), int(frame.method.consumer_count)
        if any(counts) or took < _LEADER_SECONDS or time.monotonic() > given_up_at:
            return counts
        given_up_at = min(given_up_at, time.monotonic() + _PATIENCE_SECONDS)
        if await _is_far_away(call, took - _LEADER_SECONDS / 2):
            return counts  # it was not the leader that took its time


async def _is_far_away(call: Call, seconds: float) -> bool:
    """Return whether a question that no queue has to answer takes longer, too, and not by chance."""
    for _ in range(_TRIES):
        asked_at = time.monotonic()
        await call("exchange_declare", exchange=_THERE_IN_EACH, passive=True)
        if time.monotonic() - asked_at <= seconds:
            return False
    return True
