from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from upswell.broker.protocol import Delivery
from upswell.broker.topology import TRACEBACK_HEADER
from upswell.errors import PermanentUploadError
from upswell.handlers.protocol import Stored
from upswell.worker.outcomes import backoff, dead_letter, frames_of, url_of, waiting_time


def test_backoff_doubles_with_each_attempt_up_to_thirty_seconds() -> None:
    rng = random.Random(7)
    for attempt, longest in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1000, 30.0)]:
        waits = [backoff(attempt, 0.5, rng) for _ in range(200)]
        assert 0.75 * longest <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(
    ("published_at", "waited"), [(None, None), (90.0, 10.0), (100.0, 0.0), (1e11, 0.0), (-2e8, None)]
)
def test_waiting_time_is_never_negative_and_unknown_where_it_cannot_be(
    published_at: float | None, waited: float | None
) -> None:
    assert waiting_time(published_at, 100.0) == waited


@pytest.mark.parametrize("url", [None, "", "x" * 8193, "s3://b/a\nb", "s3://b/\ud800", 7])
def test_an_address_that_no_report_can_carry_is_left_out(url: Any) -> None:
    assert url_of(Stored("k", 1, url=url)) is None


def test_an_address_is_told_as_the_handler_tells_it() -> None:
    assert (
        url_of(Stored("k", 1, url="s3://bucket/föhn \U0001f469\u200d.jpg"))
        == "s3://bucket/föhn \U0001f469\u200d.jpg"
    )


def test_an_address_of_a_class_of_its_own_is_told_as_text() -> None:
    """JSON takes no class derived from str, such as a template's or numpy's."""

    class Address(str):
        __slots__ = ()

    assert type(url_of(Stored("k", 1, url=Address("s3://b/a")))) is str


def raised(error: Exception) -> Exception:
    """Return an error as a handler of the user's would have raised it."""

    def resize() -> None:
        raise error

    try:
        resize()
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught
    raise AssertionError


def in_json(text: str) -> Exception:
    """Return an error that comes out of Python's own library."""
    try:
        json.loads(text)
    except ValueError as caught:
        return caught
    raise AssertionError


def letter(error: Exception) -> dict[str, Any]:
    delivery = Delivery(body=b"", queue="q", attempt=1, tag=None)
    message = dead_letter(delivery, error, queue="q.dead", app_id="a", worker_id="w", died_at=1.5)
    return dict(message.headers or {})


def test_of_a_handlers_error_the_users_own_frames_are_told_and_no_others() -> None:
    outer, inner = frames_of(raised(ValueError("no")))
    assert outer.startswith("test_outcomes.py:") and outer.endswith(" in raised: resize()")  # noqa: PT018
    assert inner.endswith(" in resize: raise error")
    (only,) = frames_of(in_json("{"))
    assert only.endswith(" in in_json: json.loads(text)")


def test_a_dead_letter_keeps_the_traceback_bounded_and_without_credentials() -> None:
    trace = letter(raised(ValueError("amqp://me:s3cret@host \x1b[2J" + "\nx" * 5000)))[TRACEBACK_HEADER]
    assert len(trace) <= 8000
    assert "s3cret" not in trace
    trace = letter(raised(ValueError("amqp://me:s3cret@host \x1b[2J")))[TRACEBACK_HEADER]
    assert trace.splitlines()[0] == "Traceback (most recent call last):"
    assert trace.splitlines()[-1] == "ValueError: amqp://***@host \\u001b[2J"
    assert "raise error" in trace


def test_a_traceback_begins_in_the_users_code() -> None:

    def handler() -> None:
        json.loads("{")

    with ThreadPoolExecutor(1) as pool:  # its frames come first, as Upswell's do
        own, foreign = pool.submit(handler).exception(), pool.submit(json.loads, "{").exception()
    assert isinstance(own, ValueError)
    trace = letter(own)[TRACEBACK_HEADER].splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert "test_outcomes.py" in trace[1]
    assert any("decoder.py" in line for line in trace), "what the handler called is told"
    assert isinstance(foreign, ValueError)
    trace = letter(foreign)[TRACEBACK_HEADER].splitlines()
    assert "thread.py" in trace[1], "none of it is the user's, so all is told"


def test_an_error_that_says_itself_what_happened_has_no_traceback() -> None:
    error = raised(PermanentUploadError("the source is gone"))
    assert frames_of(error) == []
    assert TRACEBACK_HEADER not in letter(error)
