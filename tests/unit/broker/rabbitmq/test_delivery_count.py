"""Attempts out of headers, which a hostile publisher may have written."""

from __future__ import annotations

from datetime import UTC, datetime

import pika
import pytest

from upswell.broker.rabbitmq import delivery_count


@pytest.mark.parametrize(
    ("headers", "redelivered", "expected"),
    [
        ({}, False, 1),
        ({"x-delivery-count": 3}, True, 4),
        ({"x-delivery-count": 3}, False, 1),  # stale: brought along from another queue
        ({delivery_count.EARLIER_ATTEMPTS: 2}, False, 3),
        ({delivery_count.EARLIER_ATTEMPTS: 2, "x-delivery-count": 1}, True, 4),
        ({delivery_count.EARLIER_ATTEMPTS: 2, "x-death": []}, False, 1),
        ({"x-delivery-count": 3, "x-death": [], "x-last-death-reason": "delivery_limit"}, True, 1),
        ({delivery_count.EARLIER_ATTEMPTS: -5}, False, 1),
        ({delivery_count.EARLIER_ATTEMPTS: "many"}, False, 1),
        ({delivery_count.EARLIER_ATTEMPTS: 10**12}, False, 1),
        ({"x-delivery-count": "many"}, True, 1),
        ({"x-delivery-count": -7}, True, 1),
        ({"x-delivery-count": 10**12}, True, 1),
    ],
)
def test_an_attempt_is_one_more_than_those_before(
    headers: dict[str, object], redelivered: bool, expected: int
) -> None:
    assert delivery_count.attempt(headers, redelivered=redelivered) == expected


def test_a_delivery_shows_text_and_numbers_and_none_of_the_brokers_own() -> None:
    headers = {
        "a": "x",
        "b": 1,
        "c": [1],
        "d": None,
        "x-delivery-count": 2,
        delivery_count.EARLIER_ATTEMPTS: 1,
    }
    assert delivery_count.plain_headers(headers) == {"a": "x", "b": 1}


def test_floats_travel_as_text() -> None:
    assert delivery_count.wire_headers({"at": 0.5, "n": 1, "s": "x"}) == {"at": "0.5", "n": 1, "s": "x"}


def test_a_copy_keeps_everything_and_says_how_often_it_was_tried() -> None:
    original = pika.BasicProperties(
        message_id="id-1", headers={"kept": 1, "x-delivery-count": 3}, content_type="application/json"
    )
    copied = delivery_count.copy_for(original, 2)
    assert copied.headers == {"kept": 1, delivery_count.EARLIER_ATTEMPTS: 2}
    assert (copied.message_id, copied.content_type, copied.delivery_mode) == ("id-1", "application/json", 2)
    assert original.headers == {"kept": 1, "x-delivery-count": 3}
    assert delivery_count.copy_for(pika.BasicProperties(), 0).headers is None


def test_a_dead_letter_says_why() -> None:
    dead = delivery_count.dead_letter_for(
        pika.BasicProperties(headers={delivery_count.EARLIER_ATTEMPTS: 2}), 3, 3
    )
    assert dead.headers == {"x-upswell-reason": "delivery limit 3 reached", "x-upswell-attempt": 3}


def test_when_the_server_dead_lettered_a_message_is_shown_as_a_workers_time_of_death_is() -> None:
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    assert delivery_count.plain_headers({"x-death": [{"time": at, "count": 1}]}) == {
        "x-upswell-died-at": 1_700_000_000.0
    }
    for forged in ([], [1], [{}], [{"time": 10**17}], "x", {"time": at}, None):
        assert "x-upswell-died-at" not in delivery_count.plain_headers({"x-death": forged})
