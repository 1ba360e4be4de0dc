"""The client library: opening and closing connections; the only module that imports pika.

What pika has no public way for is done here too. `tests/unit/broker/rabbitmq/test_pika_client.py` names each
private attribute that this module uses; `pyproject.toml` bounds pika's version accordingly.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pika
import pika.exceptions
import pika.spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorWrongState
from pika.frame import decode_frame

from upswell.broker.rabbitmq import delivery_frames
from upswell.broker.rabbitmq.channel import LostError
from upswell.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker.rabbitmq.delivery_frames import DeliveryFrames
    from upswell.broker.rabbitmq.url import Address

_ABORT_PATIENCE = 2.0  # seconds that the server has to close a connection that was opened too late

# pika logs each lost connection with a traceback's worth of lines; what matters is in our own events.
logging.getLogger("pika").addHandler(logging.NullHandler())

properties: Any = pika.BasicProperties
GET_EMPTY: Any = pika.spec.Basic.GetEmpty


class Connection(AsyncioConnection):
    """pika's connection with two short cuts, which save half of the time that pika takes per message.

    All frames of one turn of the event loop are sent with one system call; pika makes one for each frame.
    A delivery whose frames have all arrived goes straight to its consumer; pika copies its whole buffer and
    looks for callbacks at each frame. Everything else takes pika's own way.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._unsent: list[bytes] = []
        self._last_properties: tuple[bytes | None, Any] = (None, None)
        super().__init__(*arguments, **named)

    def _on_data_available(self, data_in: bytes) -> None:
        this: Any = self  # pika has no types for its private parts
        if not this.is_open:
            parent: Any = super()
            parent._on_data_available(data_in)
            return
        data: bytes = this._frame_buffer + data_in
        start = 0
        try:
            while (end := delivery_frames.frame_end(data, start)) > 0:
                found = delivery_frames.find(data, start)
                if found is None:
                    frame = _frame(data[start:end])
                    start = end
                    this._process_frame(frame)
                else:
                    start = found.end
                    self._deliver(found)
        finally:
            this._frame_buffer = data[start:]
            this.bytes_received += start

    def _deliver(self, found: DeliveryFrames) -> None:
        this: Any = self
        channel = this._channels.get(found.channel)
        on_message = None if channel is None else channel._consumers.get(found.consumer_tag)
        if on_message is not None:  # else its consumer was cancelled by the server
            on_message(channel, found, self._decoded(found.properties), found.body)

    def _decoded(self, raw: bytes) -> Any:
        """Return a delivery's properties; reports all have the same."""
        if raw != self._last_properties[0]:
            decoded = properties()
            try:
                decoded.decode(raw)
            except Exception:  # noqa: BLE001 - pika fails on a NaN or a time far ahead in a header; headers are hostile
                decoded = properties()
            self._last_properties = raw, decoded
        return self._last_properties[1]

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(data)

    def _flush(self) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        transport: Any = getattr(self, "_transport", None)
        if transport is not None:  # else the connection was lost meanwhile
            transport.write(data)


def _frame(data: bytes) -> Any:
    """Return a frame as pika decodes it; a message's header that it cannot decode without its properties."""
    try:
        return decode_frame(data)[1]
    except pika.exceptions.AMQPError:
        raise
    except Exception:
        bare = delivery_frames.without_properties(data)
        if bare is None:
            raise
        return decode_frame(bare)[1]


def cancel_consumer(channel: Any, tag: str, on_done: Callable[..., None]) -> None:
    """Cancel a consumer and still receive the deliveries that are on their way.

    pika's own basic_cancel rejects those, and each reject counts as an attempt.
    """
    cancel: Any = pika.spec.Basic.Cancel(consumer_tag=tag, nowait=False)

    def done(frame: Any) -> None:
        channel._consumers.pop(tag, None)  # what basic_cancel would do
        on_done(frame)

    answer: Any = (pika.spec.Basic.CancelOk, {"consumer_tag": tag})
    channel._rpc(cancel, done, [answer])


def set_prefetch_count(channel: Any, prefetch_count: int) -> None:
    """Set the prefetch count of the consumers to come, without waiting for the server's answer.

    It does what comes on a channel in order. pika's own basic_qos holds back all that follows until it has
    answered, which is a round trip more before a consumer gets its first message.
    """
    qos: Any = pika.spec.Basic.Qos(prefetch_count=prefetch_count)

    def answered(_frame: Any) -> None:
        """Take the answer: without anybody to take it, pika would close the channel."""

    channel.callbacks.add(channel.channel_number, pika.spec.Basic.QosOk, answered)
    channel._send_method(qos)


async def open_connection(address: Address, name: str) -> Connection:
    """Return a new open connection.

    Raises:
        LostError: the server cannot be reached now.
        BrokerError: the server refuses the connection, or its host does not exist.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    workflow: Any = Connection.create_connection(
        [_parameters(address, name)],
        on_done=lambda result: None if done.done() else done.set_result(result),
        custom_ioloop=loop,
    )
    try:
        result = await asyncio.shield(done)
    except asyncio.CancelledError:
        connector = workflow._connector  # pika fails when a handshake is aborted
        if connector is None or connector._amqp_conn is None:
            with suppress(AMQPConnectorWrongState):  # it has just succeeded or failed
                workflow.abort()
        result = await done
        if isinstance(result, Connection):
            await close(result, _ABORT_PATIENCE)
        raise
    if isinstance(result, Connection):
        return result
    cause = _cause(result)
    reason = _refusal(cause)
    where = f"{address.host}:{address.port}"
    if reason is not None:
        raise BrokerError(f"RabbitMQ at {where} cannot be used: {reason}")
    raise LostError(f"RabbitMQ at {where} cannot be reached: {type(cause).__name__}: {cause}")


async def close(connection: Any, patience: float) -> None:
    """Close a connection, and cut it if its server does not answer within `patience` seconds."""
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_closed(*_: Any) -> None:
        if not closed.done():
            closed.set_result(None)

    connection.add_on_close_callback(on_closed)
    if not connection.is_closing:
        connection.close()
    await asyncio.wait([closed], timeout=patience)
    if not closed.done():
        connection._adapter_disconnect_stream()
        await asyncio.sleep(0)


def _parameters(address: Address, name: str) -> Any:
    parameters: Any = pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=address.heartbeat,
        socket_timeout=address.connection_timeout,
        stack_timeout=address.connection_timeout,
        ssl_options=pika.SSLOptions(address.tls, address.server_name) if address.tls else None,
        client_properties={"connection_name": name, "product": "Upswell"},
    )
    return parameters


def _cause(error: Any) -> BaseException:
    """Return the innermost of the exceptions that pika wraps a failed connection in."""
    while True:
        inner = error.exceptions[-1] if hasattr(error, "exceptions") else getattr(error, "exception", None)
        if inner is None:
            return error
        error = inner


def _refusal(cause: BaseException) -> str | None:
    """Return why trying again would not help a failed connection, or None when it might."""
    text = str(cause)
    if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
        return "no such host"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, pika.exceptions.ProbableAuthenticationError) and "(403)" in text:
        return "user name or password refused"
    if isinstance(cause, pika.exceptions.ProbableAccessDeniedError) and "(530)" in text:
        return "no such vhost, or no permission for it"
    return None
