"""Replies end the uploads that somebody holds, and nothing else."""

from __future__ import annotations

import gc
from typing import Any

from upswell.broker import Delivery
from upswell.client.pending import PendingUploads
from upswell.messages import UploadReport, UploadRequest, encode

REQUEST = UploadRequest(app_id="photos", type="file", uri="file:///a", id="r1", key="k")


def uploads() -> PendingUploads:
    return PendingUploads(lambda: 5.0, lambda: 1000.0)


def reply(**fields: Any) -> Delivery:
    report = UploadReport(**{"app_id": "photos", "request_id": "r1", "response_time": 1.5, **fields})
    return Delivery(body=encode(report), queue="q", attempt=1, tag=None)


def test_a_reply_ends_the_upload_with_what_the_worker_tells() -> None:
    held = uploads()
    pending = held.expect(REQUEST)
    held.take(reply(outcome="failed", attempt=1, reason="busy"))
    assert (pending.ended.is_set(), pending.last_failure) == (False, "busy")
    held.take(reply(url="s3://bucket/k", bytes=7, attempt=2, worker_id="w"))
    assert pending.ended.is_set()
    assert pending.result is not None
    assert (pending.result.url, pending.result.bytes, pending.result.response_time) == (
        "s3://bucket/k",
        7,
        1.5,
    )
    held.take(reply(outcome="dead", reason="too late"))
    assert pending.reason is None, "the first end counts"


def test_a_dead_upload_ends_with_its_reason() -> None:
    held = uploads()
    pending = held.expect(REQUEST)
    held.take(reply(outcome="dead", reason="no such file"))
    assert (pending.reason, pending.result) == ("no such file", None)


def test_a_reply_about_something_else_and_rubbish_end_nothing() -> None:
    held = uploads()
    pending = held.expect(REQUEST)
    held.take(reply(request_id="r2"))
    held.take(reply(request_id=None))
    held.take(reply(app_id="other"))
    for body in (b"", b"[" * 100_000, b"x" * 2_000_000):
        held.take(Delivery(body=body, queue="q", attempt=1, tag=None))
    assert not pending.ended.is_set()


def test_a_request_published_again_is_one_upload_until_it_ends() -> None:
    held = uploads()
    pending = held.expect(REQUEST)
    assert held.expect(REQUEST) is pending
    held.take(reply(outcome="dead"))
    again = held.expect(REQUEST)
    assert again is not pending
    assert not again.ended.is_set()


def test_an_upload_that_nobody_holds_is_forgotten() -> None:
    held = uploads()
    kept = held.expect(REQUEST)
    for number in range(1000):
        held.expect(UploadRequest(app_id="photos", type="file", uri="file:///a", id=f"x{number}"))
    gc.collect()
    assert len(held) == 1
    assert kept.id == "r1"
