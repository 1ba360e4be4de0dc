"""An operator's orders: a command asks, the monitor or the scaler answers.

What comes in: an order. What goes out: the answer, or a `BrokerError` where nobody is there to obey. It goes
through the broker, so it works wherever the parts run; nobody keeps an order that nobody heard.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.broker import topology
from upswell.broker.listening import listen
from upswell.broker.protocol import Message
from upswell.errors import MessageError, NoAnswerError, NobodyListensError, UnroutableError
from upswell.messages import OperatorAnswer, OperatorOrder, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from upswell.broker.protocol import Broker, Consumer, Delivery
    from upswell.messages import PartName

    Obey = Callable[[OperatorOrder], OperatorAnswer | None]
    """None: another one, which leads, answers, or this one when it is asked again."""

ANSWER_SECONDS = 20.0
"""Who does not answer within this time hangs, or its connection to the broker is lost."""

REPEAT_SECONDS = 1.0
"""An order that nobody answers is given again: a leader held up for longer than its term leads on only a
moment after it has heard the order."""

_ANSWERS_KEPT = 100
"""So that an order whose answer was late is not obeyed twice."""


async def take_orders(broker: Broker, part: PartName, name: str, report_queue: str, obey: Obey) -> Consumer:
    """Have `obey` called with each order to a part of this installation, and send what it answers.

    `name` is of this one's own queue. Every monitor, or every scaler, hears the order; the leader answers.
    """
    answers: dict[tuple[str | None, str | None], OperatorAnswer] = {}

    def on_delivery(delivery: Delivery) -> None:
        reply_to = delivery.reply_to
        given = (reply_to, delivery.message_id)
        answer = answers.get(given)
        if answer is None:
            try:
                answer = obey(decode(OperatorOrder, delivery.body))
            except MessageError as error:
                answer = refused(str(error))
        if answer is not None and answer.accepted and None not in given:
            answers[given] = answer
            if len(answers) > _ANSWERS_KEPT:
                del answers[next(iter(answers))]
        # It comes from a message, and a message is hostile: nothing is sent to any other queue.
        if answer is not None and reply_to is not None and reply_to.startswith(topology.REPLY_PREFIX):
            broker.publish(
                Message(
                    body=encode(answer),
                    routing_key=reply_to,
                    message_id=delivery.message_id,
                    persistent=False,
                    mandatory=False,
                )
            )

    return await listen(broker, topology.orders_queue(part, name, report_queue), on_delivery)


def refused(why: str) -> OperatorAnswer:
    """Return the answer of a part that does not obey."""
    return OperatorAnswer(accepted=False, text=why)


def unknown_app(part: PartName, app_id: str | None, known: Collection[str]) -> OperatorAnswer:
    """Return the answer to an order for an application that a part's settings do not have."""
    names = ", ".join(sorted(known)[:20])
    return refused(f"{app_id} is not in the {part}'s settings, which have {names}")


class Orders:
    """Sends orders to the parts of one installation.

    Args:
        report_queue: the installation's.
        name: of this command's own queue of answers.
    """

    def __init__(self, broker: Broker, report_queue: str, name: str) -> None:
        self._broker = broker
        self._report_queue = report_queue
        self._answers = topology.reply_queue(name)
        self._waiting: dict[str, asyncio.Future[OperatorAnswer]] = {}
        self._sent = 0

    async def listen(self) -> None:
        """Begin to receive answers; once, before the first order."""
        await listen(self._broker, self._answers, self._on_answer)

    async def give(self, part: PartName, order: OperatorOrder) -> OperatorAnswer:
        """Return what the monitor or the scaler answers to an order.

        Raises:
            NobodyListensError: there is none, so nothing has changed.
            NoAnswerError: it did not answer in time, or went without an answer.
        """
        self._sent += 1
        number = str(self._sent)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = Message(
            body=encode(order),
            exchange=topology.orders_exchange(part, self._report_queue),
            message_id=number,
            reply_to=self._answers.name,
        )
        heard = False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not waiting.done():
                    await self._broker.publish(message)
                    heard = True
                    await asyncio.wait([waiting], timeout=REPEAT_SECONDS)
                return await waiting
        except (UnroutableError, TimeoutError) as error:
            if waiting.done():  # it came in the very moment, or this command stood still
                return waiting.result()
            if isinstance(error, TimeoutError):
                raise NoAnswerError(
                    f"the {part} did not answer within {ANSWER_SECONDS:g} s: "
                    "`upswell status` shows if it obeys"
                ) from None
            if heard:
                raise NoAnswerError(f"the {part} went without an answer") from None
            raise NobodyListensError(
                f"no {part} is connected to this broker (report_queue {self._report_queue}), so nothing has "
                f"changed: start `upswell {part}`, or `upswell up`"
            ) from None
        finally:
            del self._waiting[number]

    def _on_answer(self, delivery: Delivery) -> None:
        try:
            answer = decode(OperatorAnswer, delivery.body)
        except MessageError:
            return
        waiting = self._waiting.get(delivery.message_id or "")
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
