"""Makes the queues of applications: whoever knows an application's settings makes them.

RabbitMQ drops what is published to a queue that is not there, without a word to a publisher that did not ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.broker.topology import dead_letter_queue, upload_queue
from upswell.errors import BrokerError
from upswell.events import get_logger

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker
    from upswell.settings import Settings

_log = get_logger()


async def declare_upload_queue(broker: Broker, name: str, *, delivery_limit: int) -> None:
    """Make one application's queue of dead letters and its upload queue.

    Raises:
        BrokerError: no permission, or a queue of that name cannot do the job.
    """
    await broker.declare(dead_letter_queue(name))
    await broker.declare(upload_queue(name, delivery_limit=delivery_limit))


async def declare_upload_queues(broker: Broker, settings: Settings) -> None:
    """Make the queues of all applications in the settings; one that cannot be made keeps no other from it."""
    for app_id in settings.apps:
        name, limit = settings.upload_queue_of(app_id), settings.for_app(app_id).delivery_limit
        try:
            await declare_upload_queue(broker, name, delivery_limit=limit)
        except BrokerError as error:
            _log.warning("broker.declare_failed", queue=name, error=error)
