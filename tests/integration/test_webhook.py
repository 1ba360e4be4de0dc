"""The webhook against a real server that fails at first, hangs, drips or is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.http_receiver import receiver
from upswell.events import capture
from upswell.monitor.webhook import MOST_WAITING, Webhook

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler


def test_a_server_that_fails_at_first_gets_each_notice_in_order_with_the_headers() -> None:
    with receiver(lambda number, _: 503 if number <= 2 else 204) as server:
        hook = Webhook(server.url, ["Authorization: Bearer s3cret"], timeout=60.0, first_pause=0.01)
        hook.send(b'{"n": 1}')
        hook.send(b'{"n": 2}')
        server.wait(lambda: server.accepted == [b'{"n": 1}', b'{"n": 2}'])
        hook.close()
    assert server.bodies == [b'{"n": 1}'] * 3 + [b'{"n": 2}']
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer s3cret"}
    ids = [headers["X-Upswell-Notice"] for headers in server.headers]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert server.headers[0]["Content-Type"] == "application/json"


def test_a_server_that_hangs_or_drips_is_left_at_the_deadline_and_asked_again() -> None:
    def answer(number: int, handler: BaseHTTPRequestHandler) -> int:
        if number == 1:
            server.release.wait(60)
        if number == 2:
            hook._timeout = 60.0  # the third attempt has all the time that a busy machine takes to answer it
            for _ in range(600):
                if server.release.wait(0.1):
                    break
                handler.wfile.write(b"H")  # a status line that never ends
                handler.wfile.flush()
        return 200

    with receiver(answer) as server:
        hook = Webhook(server.url, timeout=5.0, first_pause=0.01)
        hook.send(b"{}")
        server.wait(lambda: server.accepted == [b"{}"])
        assert len(server.bodies) == 3
        hook.close()


def test_what_the_server_never_takes_is_given_up_and_logged_without_secrets() -> None:
    with capture() as log, receiver(lambda number, _: 302 if number == 1 else 200) as server:
        hook = Webhook(server.url, ["Authorization: Bearer s3cret"], timeout=60.0, first_pause=0.01)
        hook.send(b"{}")
        hook.send(b'{"n": 2}')
        server.wait(lambda: server.accepted == [b'{"n": 2}'])
        hook.close()
    (failed,) = [event for event in log if event["event"] == "webhook.failed"]
    assert (failed["host"], failed["attempts"]) == ("127.0.0.1", 1)
    assert "302" in str(failed["error"])
    assert not any(secret in str(log) for secret in ("very-secret", "t0p", "s3cret"))


def test_a_server_that_is_away_costs_the_sender_nothing_and_the_oldest_notices_are_dropped() -> None:
    with capture() as log, receiver(lambda *_: server.release.wait(60) and 200) as server:
        hook = Webhook(server.url, timeout=30.0)
        hook.send(b"0")
        server.wait(lambda: server.bodies == [b"0"])
        for number in range(1, 3 * MOST_WAITING + 1):
            hook.send(b"%d" % number)  # returns though the server hangs
        assert len(hook._waiting) == MOST_WAITING
        assert hook._waiting[-1] == b"300"
        hook.close()
    assert [event["event"] for event in log].count("webhook.dropped") == 2 * MOST_WAITING
