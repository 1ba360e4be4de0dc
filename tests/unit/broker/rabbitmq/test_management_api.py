"""A management API that answers with something else than HTTP, or not to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.bad_http_server import BadHttpServer, raw
from upswell.broker.rabbitmq.management_api import check_clock, messages_unacknowledged
from upswell.errors import BrokerError
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

AMQP = raw(b"AMQP\0\0\x09\x01")
CUT = raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"messages_unack')


@pytest.fixture
def server() -> Iterator[BadHttpServer]:
    with BadHttpServer() as running:
        yield running


def test_unacknowledged_messages_are_unknown_where_the_answer_is_no_http_or_cut_short(
    server: BadHttpServer,
) -> None:
    """`management_url` with the port of AMQP must not end a monitor's round."""
    server.paths |= {"/amqp/api/queues/%2F/q": AMQP, "/cut/api/queues/%2F/q": CUT}
    for path in ("/amqp", "/cut"):
        assert messages_unacknowledged(server.url(path), "/", "q", user="u", password="p") is None
    assert len(server.asked) == 2


def test_doctor_says_that_what_answers_is_no_http(server: BadHttpServer) -> None:
    server.paths["/"] = AMQP
    settings = Settings(brokers={"rabbitmq": {"management_url": server.url("/")}})
    with pytest.raises(BrokerError, match="management_url does not answer"):
        check_clock(settings)
