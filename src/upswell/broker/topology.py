"""The one table of queues: what each is called and what it promises.

{app_id}_upload              publisher to workers: durable, a delivery limit, then dead letters
{app_id}_upload.dead         worker or broker to people: durable, headers say why
upswell_report               workers to monitor: durable, the newest million are kept
upswell_report.dead          monitor to people: no valid reports, a header says why; ten thousand kept
upswell.scaling.{part}.{name}  monitor to each scaler and each other monitor: bound to {report_queue}.scaling
upswell.control.{worker_id}  scaler to one worker: lives as long as the worker's connection
upswell.status.{role}.{name} workers to one listener: bound to the exchange upswell.status
upswell.parts.{name}         monitor and scaler to `status` and `doctor`: bound to the exchange upswell.parts
upswell.orders.{part}.{name} operators to each monitor or scaler: bound to the exchange
                             upswell.orders.{part}.{report_queue}
upswell.ticks.{role}         elects a leader (rabbitmq/leadership.py): one consumer is active
upswell.reply.{name}         answers to one command: lives as long as its owner
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct

STATUS_EXCHANGE = "upswell.status"
"""Fanout exchange of WorkerStatus; a status is not persistent and may be lost."""

PARTS_EXCHANGE = "upswell.parts"
"""Fanout exchange of PartStatus, the heartbeats of monitors and scalers; they are not persistent."""

REPLY_PREFIX = "upswell.reply."
"""A worker answers only to queues of this name: `reply_to` comes from a message, and a message is hostile."""

DIED_AT_HEADER = "x-upswell-died-at"
"""Header of a dead letter: when it was dead-lettered, in seconds since 1970."""

TRACEBACK_HEADER = "x-upswell-traceback"
"""Header of a dead letter: where its handler failed, in several lines."""


REQUEST_SECONDS = 10.0
"""A scale request that lay in its queue for longer is forgotten."""


class Queue(Struct, frozen=True, kw_only=True):
    """A queue and what it promises.

    `exclusive`: lives as long as the connection that declared it. `single_consumer`: whoever consumes it
    needs every message, so a second consumer is refused. `single_active`: one of its consumers is served, the
    others wait until that one has gone (on RabbitMQ alone). `bound_to`: the exchange whose messages it
    receives. `delivery_limit`: attempts before a message goes to `dead_letter_queue`. `max_length`: the
    oldest beyond it are dropped. `message_ttl`: seconds until a message is forgotten. `foreign`: programs of
    others may declare it too, in their own way.
    """

    name: str
    exclusive: bool = False
    single_consumer: bool = False
    single_active: bool = False
    bound_to: str | None = None
    delivery_limit: int | None = None
    dead_letter_queue: str | None = None
    max_length: int | None = None
    message_ttl: float | None = None
    foreign: bool = False


_private = partial(Queue, exclusive=True, single_consumer=True)
"""A queue of its listener's own."""


def upload_queue(name: str, *, delivery_limit: int) -> Queue:
    """Upload requests of one application; its name is `settings.upload_queue_of(app_id)`."""
    return Queue(name=name, delivery_limit=delivery_limit, dead_letter_queue=f"{name}.dead", foreign=True)


def dead_letter_queue(upload_queue: str) -> Queue:
    """Requests that can never be stored, or were tried too often."""
    return Queue(name=f"{upload_queue}.dead")


def report_queue(name: str) -> Queue:
    """Reports of all workers of all applications, for the monitor that leads."""
    return Queue(name=name, max_length=1_000_000, foreign=True)


def refused_report_queue(report_queue_name: str) -> Queue:
    """Reports that are none, each with the reason in a header; the newest ten thousand."""
    return Queue(name=f"{report_queue_name}.dead", max_length=10_000)


def scaling_exchange(report_queue_name: str) -> str:
    """Fanout exchange of ScaleRequest, of all applications; they are not persistent."""
    return f"{report_queue_name}.scaling"


def scaling_queue(part: str, name: str, report_queue_name: str) -> Queue:
    """A listener's own copy of every scale request: forgotten soon, for the next says it all again."""
    return _private(
        name=f"upswell.scaling.{part}.{name}",
        bound_to=scaling_exchange(report_queue_name),
        message_ttl=REQUEST_SECONDS,
        max_length=100_000,
    )


def control_queue(worker_id: str) -> Queue:
    """Commands to one worker."""
    return _private(name=f"upswell.control.{worker_id}")


def status_queue(role: str, name: str) -> Queue:
    """A listener's own copy of every worker's status; listeners of one name in different roles share none."""
    return _private(name=f"upswell.status.{role}.{name}", bound_to=STATUS_EXCHANGE, max_length=100_000)


def parts_queue(name: str) -> Queue:
    """A listener's own copy of every monitor's and scaler's heartbeat."""
    return _private(name=f"{PARTS_EXCHANGE}.{name}", bound_to=PARTS_EXCHANGE, max_length=10_000)


def orders_exchange(part: str, report_queue_name: str) -> str:
    """Fanout exchange of operators' orders to the monitors or the scalers of one installation."""
    return f"upswell.orders.{part}.{report_queue_name}"


def orders_queue(part: str, name: str, report_queue_name: str) -> Queue:
    """A listener's own copy of every order to its part; where nobody has one, orders are refused."""
    return _private(
        name=f"upswell.orders.{part}.{name}",
        bound_to=orders_exchange(part, report_queue_name),
        max_length=1_000,
    )


def role(part: str, report_queue_name: str) -> str:
    """Return what the monitors, or the scalers, of one installation stand for."""
    return f"{part}.{report_queue_name}"


def tick_queue(role: str) -> Queue:
    """The ticks by which RabbitMQ elects the leader of a role."""
    return Queue(name=f"upswell.ticks.{role}", single_active=True, max_length=1, message_ttl=2.0)


def reply_queue(name: str) -> Queue:
    """A publisher's own copy of the reports on what it published."""
    return _private(name=f"{REPLY_PREFIX}{name}")
