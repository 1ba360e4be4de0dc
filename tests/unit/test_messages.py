"""Messages: what is let in, and what is refused with the rule and the value."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import MessageError
from upswell.messages import (
    MAX_MESSAGE_BYTES,
    ScaleRequest,
    UploadReport,
    UploadRequest,
    WorkerCommand,
    check_app_id,
    decode,
    encode,
)
from upswell.requests import id_of_body
from upswell.safe import safe

BARE_REQUEST = b'{"type": "file", "uri": "file:///a", "app_id": "e123456"}'
BARE_REPORT = b'{"response_time": 31.5, "app_id": "e123456"}'


def test_a_bare_request_of_the_course_is_accepted() -> None:
    request = decode(UploadRequest, BARE_REQUEST)
    assert (request.type, request.uri, request.app_id) == ("file", "file:///a", "e123456")
    assert request.id is None


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@host/a?x=1&signature=hunter2",
        "https:\\/\\/user:hunter2@host\\/a?x=1\\u0026signature=hunter2",  # PHP's way
        "https://host/a?x\\u003d1\\u0026signature\\u003dhunter2",  # Go's, Gson's
        "https:\\u002F\\u002fhost/a\\u003fsignature=hunter2",
        f"https://user:{'hunter2' * 100}@host/a",  # an excerpt ends within it
    ],
    ids=range(5),
)
def test_a_message_that_is_refused_tells_no_secret(uri: str) -> None:
    body = f'{{"uri": "{uri}"}}'.encode()
    with pytest.raises(MessageError, match="not a valid UploadRequest") as caught:
        decode(UploadRequest, body)
    assert "hunter" not in str(caught.value)
    assert "hunter" not in safe(body)


def test_a_bare_report_of_the_course_is_accepted() -> None:
    """Workers written by others know nothing else."""
    report = decode(UploadReport, BARE_REPORT)
    assert (report.response_time, report.app_id, report.outcome) == (31.5, "e123456", "stored")


def test_a_message_survives_its_own_encoding() -> None:
    request = ScaleRequest(app_id="a", desired_workers=3, decided_at=1.5, reason="é \u2028 ok", epoch=7)
    assert decode(ScaleRequest, encode(request)) == request


def test_a_report_may_tell_where_the_object_is_and_older_ones_do_not() -> None:
    told = decode(UploadReport, b'{"response_time": 1, "app_id": "a", "url": "s3://bucket/k"}')
    assert told.url == "s3://bucket/k"
    assert decode(UploadReport, BARE_REPORT).url is None
    assert b"url" not in encode(decode(UploadReport, BARE_REPORT))
    with pytest.raises(MessageError, match="length <= 8192"):
        decode(UploadReport, b'{"response_time": 1, "app_id": "a", "url": "%s"}' % (b"x" * 8193))


def test_unknown_fields_are_let_pass_so_that_old_and_new_versions_work_together() -> None:
    assert decode(UploadReport, b'{"response_time": 1, "app_id": "a", "colour": "red"}').response_time == 1


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"not json", "JSON is malformed"),
        (b"", "truncated"),
        (b"\xff\xfe\x00", "JSON is malformed"),
        (b"[]", "Expected `object`"),
        (b'{"response_time": 1}', "missing required field `app_id`"),
        (b'{"response_time": "1", "app_id": "a"}', "Expected `float`, got `str`"),
        (b'{"response_time": -1, "app_id": "a"}', "Expected `float` >= 0"),
        (b'{"response_time": NaN, "app_id": "a"}', "JSON is malformed"),
        (b'{"response_time": 1e999, "app_id": "a"}', "out of range"),
        (b'{"response_time": 1, "app_id": "a", "finished_at": 1e30}', "Expected `float` <= "),
        (b'{"response_time": 1, "app_id": "a", "attempt": 0}', "Expected `int` >= 1"),
        (b'{"response_time": 1, "app_id": "a", "attempt": 9223372036854775808}', "Expected `int` <= "),
        (b'{"response_time": 1, "app_id": "a", "outcome": "lost"}', "Invalid enum value 'lost'"),
    ],
)
def test_a_bad_report_is_refused_with_its_rule(body: bytes, rule: str) -> None:
    with pytest.raises(MessageError, match="not a valid UploadReport") as caught:
        decode(UploadReport, body)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    "app_id", ["../x", "a;rm -rf", "a" * 300, "a\x00b", "", "-a", "a\n", "ä", "a b", "a.b"]
)
def test_a_hostile_app_id_is_refused_everywhere(app_id: str) -> None:
    """It would become part of queue, container and file names."""
    body = json.dumps({"type": "file", "uri": "file:///a", "app_id": app_id}).encode()
    with pytest.raises(MessageError, match="app_id"):
        decode(UploadRequest, body)
    with pytest.raises(MessageError, match="app_id must be 1 to 64 letters"):
        check_app_id(app_id)


def test_a_huge_message_is_refused_unread() -> None:
    with pytest.raises(MessageError, match=f"at most {MAX_MESSAGE_BYTES} bytes, got 10485760"):
        decode(UploadRequest, b" " * 10 * 1024 * 1024)


def test_an_error_shows_only_the_start_of_a_long_body() -> None:
    with pytest.raises(MessageError) as caught:
        decode(UploadRequest, b"x" * 100_000)
    assert len(str(caught.value)) < 400


def test_a_control_character_in_a_body_cannot_forge_a_log_line() -> None:
    with pytest.raises(MessageError) as caught:
        decode(UploadRequest, b"x\nlevel=info event=worker.started\x1b[2J")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_same_bytes_always_have_the_same_id() -> None:
    """A bare request that is redelivered must get the same key again."""
    assert id_of_body(BARE_REQUEST) == id_of_body(bytes(BARE_REQUEST))
    assert id_of_body(BARE_REQUEST) != id_of_body(BARE_REPORT)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_cause_anything_but_a_message_error(body: bytes) -> None:
    for kind in (UploadRequest, UploadReport, ScaleRequest, WorkerCommand):
        with contextlib.suppress(MessageError):
            decode(kind, body)
