"""Finds a delivery in the bytes that RabbitMQ sends: three AMQP 0-9-1 frames, one after another.

Method (basic.deliver), header (body size and properties), body. Pure: bytes in, fields out. Specification:
AMQP 0-9-1, sections 2.3.5 (frames) and 4.2.6 (content).
"""

from __future__ import annotations

import struct

from msgspec import Struct

OVERHEAD = 8
"""Bytes of a frame besides its payload: type, channel, size, end marker."""

_PAYLOAD, _END = 7, 0xCE
_METHOD, _HEADER, _BODY = 1, 2, 3
_BASIC_DELIVER = b"\x00\x3c\x00\x3c"
_frame = struct.Struct(">BHL").unpack_from
_body_size = struct.Struct(">Q").unpack_from
_delivery_tag = struct.Struct(">QB").unpack_from


class DeliveryFrames(Struct, frozen=True, gc=False):
    """The fields of one delivery; `end` is where the next frame begins, `properties` are not decoded."""

    end: int
    channel: int
    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    properties: bytes
    body: bytes


def frame_end(data: bytes, start: int) -> int:
    """Return where the frame at `start` ends; 0: it has not arrived completely."""
    if len(data) - start < OVERHEAD:
        return 0
    end = start + OVERHEAD + _frame(data, start)[2]
    return end if end <= len(data) else 0


def without_properties(frame: bytes) -> bytes | None:
    """Return a header frame that says of its message only how long it is; None: it is another frame."""
    if frame[0] != _HEADER:
        return None
    kept = frame[_PAYLOAD : _PAYLOAD + 12]  # class, weight, body size
    return frame[:3] + struct.pack(">L", len(kept) + 2) + kept + b"\x00\x00" + bytes([_END])


def find(data: bytes, start: int) -> DeliveryFrames | None:
    """Return the delivery whose frames begin at `start`.

    None: something else begins there, or its frames are incomplete, or the body takes several frames.
    """
    size = len(data)
    kind, channel, length = _frame(data, start)
    header = start + OVERHEAD + length
    if kind != _METHOD or not data.startswith(_BASIC_DELIVER, start + _PAYLOAD) or size - header < OVERHEAD:
        return None
    kind, header_channel, length = _frame(data, header)
    body = header + OVERHEAD + length
    if kind != _HEADER or header_channel != channel or size - body < OVERHEAD:
        return None
    (body_size,) = _body_size(data, header + _PAYLOAD + 4)
    kind, body_channel, length = _frame(data, body)
    end = body + OVERHEAD + length
    if kind != _BODY or body_channel != channel or length != body_size or end > size:
        return None
    if data[header - 1] != _END or data[body - 1] != _END or data[end - 1] != _END:
        return None
    tag = start + _PAYLOAD + 5
    tag_end = tag + data[tag - 1]
    delivery_tag, bits = _delivery_tag(data, tag_end)
    return DeliveryFrames(
        end,
        channel,
        data[tag:tag_end].decode(),
        delivery_tag,
        bits & 1 == 1,
        data[header + _PAYLOAD + 12 : body - 1],
        data[body + _PAYLOAD : end - 1],
    )
