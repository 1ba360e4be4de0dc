"""The context that a message carries: what breaks a rule of W3C Trace Context is no context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.traces.context import MAX_STATE_LENGTH, ambient, carried, ids

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_valid_context_is_carried_as_it_is() -> None:
    headers = {"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "other": "x"}
    assert carried(headers) == {"traceparent": PARENT, "tracestate": headers["tracestate"]}
    assert ids(carried(headers)) == {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
    }


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        PARENT.upper(),
        PARENT + "\n",
        " " + PARENT,
        PARENT + "-extra",
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        "00-" + "a" * 1_000_000,
        17,
        1.5,
        None,
        b"00",
    ],
)
def test_an_invalid_parent_is_no_context(parent: object) -> None:
    assert carried({"traceparent": parent, "tracestate": "a=1"}) == {}


@pytest.mark.parametrize(
    "state",
    ["", "=", "a", "a=1,,b", "A=1", "a=\n", "a=\x1b[31m", "a=é", "a=1 ", "a=" + "x" * MAX_STATE_LENGTH, 7],
)
def test_an_invalid_state_is_left_out_and_its_parent_stays(state: object) -> None:
    assert carried({"traceparent": PARENT, "tracestate": state}) == {"traceparent": PARENT}


def test_a_state_that_would_make_a_regular_expression_run_long_does_not() -> None:
    assert carried({"traceparent": PARENT, "tracestate": "a=" + " " * (MAX_STATE_LENGTH - 2)}) == {
        "traceparent": PARENT
    }


@given(
    st.dictionaries(st.sampled_from(["traceparent", "tracestate"]), st.text() | st.integers() | st.floats())
)
def test_whatever_a_message_carries_is_a_context_or_none(headers: dict[str, object]) -> None:
    found = carried(headers)
    assert carried(found) == found
    assert bool(ids(found)) == bool(found)


def test_a_program_that_does_not_trace_has_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "opentelemetry.trace", raising=False)
    assert ambient() == {}
