"""How a `topology.Queue` is declared on RabbitMQ, and what one that is there with other arguments lacks.

Pure: queue in, arguments out; the server's refusal in, the difference out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from upswell.broker.topology import Queue

UNLIMITED = -1

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for queue .*: received .+? but current is (?P<current>.+)",
    re.DOTALL,
)
_VALUE = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '(?P<type>\w+)')?\Z", re.DOTALL)

_WEAKER = {
    "durable": "messages do not survive a restart of the server",
    "x-queue-type": "not replicated; the server counts no attempts and enforces no delivery limit",
    "x-delivery-limit": "the server does not enforce this delivery limit",
    "x-dead-letter-exchange": "messages over the delivery limit are lost, not dead-lettered, by the server",
    "x-dead-letter-routing-key": "the server dead-letters to another queue",
    "x-dead-letter-strategy": "a dead-lettered message may be lost on its way",
    "x-overflow": "another rule holds when the queue is full",
    "x-max-length": "another length limit holds",
    "x-message-ttl": "messages are forgotten after another time",
    "auto_delete": "the queue goes when its last consumer does",
}


class Declaration(Struct, frozen=True):
    """The arguments of one queue.declare."""

    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: dict[str, Any] = {}

    @property
    def is_classic(self) -> bool:
        """Whether it is a classic queue, which counts no attempts."""
        return self.arguments.get("x-queue-type", "classic") == "classic"

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream, which no one can take messages out of."""
        return self.arguments.get("x-queue-type") == "stream"


def declaration(queue: Queue, *, compatible: bool = False) -> Declaration:
    """Return how a queue is declared: quorum and durable, or exclusive, classic and short-lived.

    `compatible`: one that others declare too as `channel.queue_declare(queue=name)` does.
    """
    if compatible and queue.foreign:
        return Declaration()
    arguments: dict[str, Any] = {}
    if queue.max_length is not None:
        arguments.update({"x-max-length": queue.max_length, "x-overflow": "drop-head"})
    if queue.message_ttl is not None:
        arguments["x-message-ttl"] = round(queue.message_ttl * 1000)
    if queue.single_active:
        arguments["x-single-active-consumer"] = True
    if queue.exclusive:
        return Declaration(exclusive=True, auto_delete=True, arguments=arguments)
    arguments["x-queue-type"] = "quorum"
    # Without a limit RabbitMQ 4 would drop a message at its 20th return.
    arguments["x-delivery-limit"] = UNLIMITED if queue.delivery_limit is None else queue.delivery_limit - 1
    if queue.dead_letter_queue is not None:
        arguments.update({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue.dead_letter_queue})
        if queue.max_length is None:
            # At least once needs reject-publish; without a length limit nothing is ever rejected.
            arguments.update({"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"})
    return Declaration(durable=True, arguments=arguments)


def as_it_is(asked: Declaration, refusal: str) -> tuple[str, Declaration] | None:
    """Return the argument that the server refused, and the declaration with that argument's actual value.

    `refusal` is the text of its PRECONDITION_FAILED, which names one difference at a time. None: it says
    something else.
    """
    match = _INEQUIVALENT.search(refusal)
    if match is None:
        return None
    name, current = match["name"], _value(match["current"])
    if name in ("durable", "exclusive", "auto_delete"):
        return name, replace(asked, **{name: current == "true"})
    arguments = {key: value for key, value in asked.arguments.items() if key != name}
    if current is not None:
        arguments[name] = current
    return name, replace(asked, arguments=arguments)


def weaker(differences: list[str]) -> str:
    """Return in words what a queue with these differences does not promise."""
    return "; ".join(_WEAKER.get(name, f"another {name}") for name in differences)


def _value(text: str) -> Any:
    """Return the value in one side of a refusal: `none`, `'true'`, `the value '5' of type 'signedint'`."""
    match = _VALUE.search(text.strip())
    if match is None:
        return None
    if match["type"] in (None, "longstr"):
        return match["value"]
    return int(match["value"]) if re.fullmatch(r"-?\d+", match["value"]) else match["value"]
