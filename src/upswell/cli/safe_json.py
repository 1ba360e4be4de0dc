"""JSON of what came from elsewhere, made safe to print."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from upswell.safe import masked, printable


def safe_json(value: Any) -> str:
    """Return `value` as one line of JSON, each of its texts masked as by `safe` before it is encoded.

    Masked as a whole, a URL that begins in one text would be taken to end in another, with all between.

    >>> safe_json({"id": "amqp://", "reason": "me@host", "at": "amqp://me:secret@host"})
    '{"id":"amqp://","reason":"me@host","at":"amqp://***@host"}'
    """
    return printable(msgspec.json.encode(_with_masked_texts(msgspec.to_builtins(value))).decode())


def _with_masked_texts(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value).encode(errors="backslashreplace").decode()  # a file's name may be no text
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        return {_with_masked_texts(name): _with_masked_texts(one) for name, one in fields.items()}
    if isinstance(value, list | tuple):
        return [_with_masked_texts(one) for one in cast("list[Any]", value)]
    return value
