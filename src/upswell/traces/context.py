"""The context of a trace that a message carries: W3C Trace Context, in headers of the same names.

A message is hostile: what breaks a rule of that standard, or its limits, is no context.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MAX_STATE_LENGTH = 512
"""The standard lets whoever propagates a longer one drop it."""

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_MEMBER = r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_STATE = re.compile(rf"{_MEMBER}(?:[ \t]*,[ \t]*{_MEMBER}){{0,31}}")

Carried = dict[str, str]


def carried(headers: Mapping[str, object]) -> Carried:
    """Return the context among a message's headers; empty where there is none, or none that is valid."""
    parent = headers.get(TRACEPARENT)
    if not isinstance(parent, str) or not _PARENT.fullmatch(parent):
        return {}
    state = headers.get(TRACESTATE)
    if isinstance(state, str) and len(state) <= MAX_STATE_LENGTH and _STATE.fullmatch(state):
        return {TRACEPARENT: parent, TRACESTATE: state}
    return {TRACEPARENT: parent}


def ids(context: Mapping[str, str]) -> dict[str, str]:
    """Return a context's ids as a log line names them.

    >>> ids({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    {'trace_id': '0af7651916cd43dd8448eb211c80319c', 'span_id': 'b7ad6b7169203331'}
    """
    match = _PARENT.fullmatch(context.get(TRACEPARENT, ""))
    return {} if match is None else {"trace_id": match[1], "span_id": match[2]}


def ambient() -> Carried:
    """Return the context that the program around us is in, where it traces by OpenTelemetry at all.

    Nothing is imported for it: a program that has a span has imported OpenTelemetry.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return carried_by(span)


def carried_by(span: Any) -> Carried:
    """Return the context of an OpenTelemetry span, of which this is the `SpanContext`."""
    context = {TRACEPARENT: f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"}
    state = span.trace_state.to_header() if span.trace_state else ""
    return carried({**context, TRACESTATE: state})
