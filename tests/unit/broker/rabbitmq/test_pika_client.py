"""pika's private parts, each by name: what a new version of pika must still have."""

from __future__ import annotations

import ast
import asyncio
import inspect
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflow, AMQPConnector
from pika.channel import Channel

import upswell.broker.rabbitmq
from upswell.broker.rabbitmq import pika_client

PRIVATE = {
    AsyncioConnection: {
        "_adapter_disconnect_stream",
        "_adapter_emit_data",
        "_channels",
        "_frame_buffer",
        "_on_data_available",
        "_process_frame",
        "_transport",
    },
    Channel: {"_consumers", "_rpc", "_send_method"},
    AMQPConnectionWorkflow: {"_connector"},
    AMQPConnector: {"_amqp_conn"},
}
OURS = {"_deliver", "_decoded", "_flush", "_last_properties", "_unsent"}


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in PRIVATE.items() for name in sorted(names)],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_pika_still_has_the_private_attribute(owner: type, name: str) -> None:
    """A failure here: pika changed; mend `pika_client.py`, or lower the bound in `pyproject.toml`."""
    functions = [part for each in owner.__mro__ for part in vars(each).values() if inspect.isfunction(part)]
    mentioned = {word for function in functions for word in function.__code__.co_names}
    assert hasattr(owner, name) or name in mentioned, (
        f"pika {pika.__version__} has no {owner.__name__}.{name}"
    )


def test_the_list_above_is_complete_and_one_module_alone_uses_them() -> None:
    used: dict[str, set[str]] = {}
    for path in Path(upswell.broker.rabbitmq.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        own_classes = path.name != "pika_client.py"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr[1] == "_":
                continue
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "this")
            if not (own_classes and of_self) and node.attr not in OURS:
                used.setdefault(path.name, set()).add(node.attr)
        if path.name == "pika_client.py":
            used.setdefault(path.name, set()).update({"_adapter_emit_data"} & defined)
    assert used.pop("pika_client.py") | {"_transport"} == set.union(*PRIVATE.values())
    assert not used


def frames(*, body: bytes, tag: int, channel: int = 1, headers: dict[str, Any] | None = None) -> bytes:
    """Return a delivery as a server sends it; a body of several frames is cut into two."""
    method = pika.spec.Basic.Deliver("consumer", tag, False, "", "queue")
    properties = pika.BasicProperties(message_id=f"id-{tag}", headers=headers)
    parts = [body[:5], body[5:]] if len(body) > 20 else [body] if body else []
    sent = [pika.frame.Method(channel, method), pika.frame.Header(channel, len(body), properties)]
    sent += [pika.frame.Body(channel, part) for part in parts]
    return b"".join(frame.marshal() for frame in sent)


@pytest.mark.parametrize("piece", [1, 7, 50, 10_000])
def test_deliveries_arrive_in_order_however_their_bytes_are_cut(piece: int) -> None:
    """Those that arrive whole take the short cut; empty, cut and long ones take pika's way."""
    bodies = [b"one", b"", b"a body of more than one frame", b"four", b"five"]
    data = b"".join(frames(body=body, tag=n, headers={"n": n}) for n, body in enumerate(bodies, 1))
    heartbeat = pika.frame.Heartbeat().marshal()
    assert take(heartbeat + data + heartbeat + frames(body=b"six", tag=6), piece) == [
        *[(n, f"id-{n}", {"n": n}, body) for n, body in enumerate(bodies, 1)],
        (6, "id-6", None, b"six"),
    ]


def test_a_damaged_frame_is_an_error() -> None:
    data = bytearray(frames(body=b"one", tag=1))
    data[-1] = 0
    with pytest.raises(pika.exceptions.InvalidFrameError):
        take(bytes(data), len(data))


def take(data: bytes, piece: int) -> list[tuple[int, str, Any, bytes]]:
    """Have a connection that is open receive `data` in pieces; return what its consumer was given."""
    taken: list[tuple[int, str, Any, bytes]] = []

    def on_message(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
        taken.append((method.delivery_tag, properties.message_id, properties.headers, body))

    async def scenario() -> None:
        connection: Any = pika_client.Connection(
            pika.ConnectionParameters(),
            custom_ioloop=asyncio.get_running_loop(),
            internal_connection_workflow=False,
        )
        connection._set_connection_state(connection.CONNECTION_OPEN)
        channel = Channel(connection, 1, print)
        channel._consumers["consumer"] = on_message
        connection._channels[1] = channel
        for start in range(0, len(data), piece):
            connection._on_data_available(data[start : start + piece])

    asyncio.run(scenario())
    return taken
