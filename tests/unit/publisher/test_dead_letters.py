from __future__ import annotations

import json

import pytest

from upswell.broker import Delivery
from upswell.publisher.dead_letters import GIVEN_UP, died_at, reason_of, request_id_of, to_retry
from upswell.requests import id_of_body

BARE = b'{"type": "image", "uri": "file:///a", "app_id": "e1"}'


def dead(body: bytes, message_id: str | None = None, **headers: str | float) -> Delivery:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery(body=body, queue="q.dead", attempt=1, tag=None, message_id=message_id, headers=named)


def test_the_id_is_the_requests_own_or_the_messages_or_made_of_the_bytes() -> None:
    assert request_id_of(dead(BARE[:-1] + b', "id": "own"}', "message")) == "own"
    assert request_id_of(dead(BARE, "message")) == "message"
    assert request_id_of(dead(BARE)) == id_of_body(BARE)


def test_the_reason_is_the_workers_or_the_brokers() -> None:
    assert reason_of(dead(BARE, x_upswell_reason="no such file")) == "no such file"
    assert reason_of(dead(BARE, x_first_death_reason="delivery_limit")) == GIVEN_UP
    assert reason_of(dead(BARE)) == "no reason given"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12.5, 12.5),
        (12, 12.0),
        ("12.5", 12.5),
        ("soon", None),
        (10**17, None),
        (10**400, None),
        ("nan", None),
        (-1, None),
    ],
)
def test_when_it_died_is_known_where_the_header_is_a_time(value: str | float, expected: float | None) -> None:
    assert died_at(dead(BARE, x_upswell_died_at=value)) == expected


def test_a_retry_keeps_the_id_and_unknown_fields_and_is_dated_now() -> None:
    body = json.loads(to_retry(dead(BARE[:-1] + b', "colour": "red", "published_at": 1.0}', "m1"), now=99.0))
    assert body == {
        "type": "image",
        "uri": "file:///a",
        "app_id": "e1",
        "colour": "red",
        "id": "m1",
        "published_at": 99.0,
    }


@pytest.mark.parametrize("body", [b"", b"rubbish", b"[" * 100_000, b'{"type": 3}', b"\xff"])
def test_what_is_no_request_is_retried_as_it_is(body: bytes) -> None:
    assert to_retry(dead(body), now=1.0) == body
