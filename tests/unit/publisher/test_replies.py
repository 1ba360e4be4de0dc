from __future__ import annotations

import pytest

from upswell.broker import Delivery
from upswell.messages import Outcome, UploadReport, UploadRequest, encode
from upswell.publisher.replies import Replies, nearest_rank
from upswell.stores.protocol import StoredObject


def reply(
    request_id: str | None, outcome: Outcome = "stored", response_time: float = 1.0, **more: str | None
) -> Delivery:
    report = UploadReport(
        app_id="e1", request_id=request_id, outcome=outcome, response_time=response_time, **more
    )
    return Delivery(body=encode(report), queue="upswell.reply.x", attempt=1, tag=None)


def request(name: str) -> UploadRequest:
    return UploadRequest(app_id="e1", type="file", uri=f"file:///in/{name}.jpg", key=f"{name}.jpg", id=name)


def expecting(*ids: str) -> Replies:
    replies = Replies()
    for request_id in ids:
        replies.expect(request(request_id))
    return replies


def test_each_id_is_counted_once_however_often_it_is_reported() -> None:
    replies = expecting("a", "b", "c")
    for one in (
        reply("a"),
        reply("a"),
        reply("b", "dead"),
        reply("b", "dead"),
        reply("stranger"),
        reply(None),
    ):
        replies.take(one)
    assert (replies.stored, replies.dead, replies.outstanding) == (1, 1, {"c"})
    assert replies.duplicates == 1


def test_a_failed_attempt_leaves_the_request_outstanding() -> None:
    replies = expecting("a")
    replies.take(reply("a", "failed"))
    assert (replies.failed_attempts, replies.outstanding) == (1, {"a"})
    replies.take(reply("a"))
    assert (replies.stored, replies.outstanding) == (1, set())


def test_an_id_published_twice_is_waited_for_once() -> None:
    replies = expecting("a")
    replies.take(reply("a"))
    replies.expect(request("a"))
    assert not replies.outstanding


def test_reasons_are_counted_without_what_is_the_upload_s_own_the_newest_first() -> None:
    replies = expecting("a", "b", "c")
    for name in ("a", "b"):
        reason = f"store refused: 404 NoSuchBucket: s3://photos/{name}.jpg"
        replies.take(reply(name, "failed", reason=reason))
    replies.take(reply("b", "dead", reason="store refused: 404 NoSuchBucket: s3://photos/b.jpg"))
    replies.take(reply("c", "dead", reason="on_conflict is fail, and c.jpg already exists"))
    assert replies.reasons.newest() == [
        ("on_conflict is fail, and ... already exists", 1),
        ("store refused: 404 NoSuchBucket: s3://photos/...", 3),
    ]
    assert replies.failures == [
        ("b.jpg", "store refused: 404 NoSuchBucket: s3://photos/b.jpg"),
        ("c.jpg", "on_conflict is fail, and c.jpg already exists"),
    ]


def test_what_was_found_in_the_destination_counts_as_stored_once() -> None:
    replies = Replies()
    found = UploadRequest(app_id="e1", type="file", uri="file:///a", id="a", size_bytes=5)
    replies.expect(found)
    assert replies.unanswered() == [found]
    replies.count_found([(found, StoredObject(5, None))])
    replies.take(reply("a"))
    assert (replies.stored, replies.found, replies.stored_bytes, replies.outstanding) == (1, 1, 5, set())


def test_the_address_is_that_of_the_only_object_or_what_all_begin_with() -> None:
    replies = expecting(*"abcd")
    seen: list[str | None] = [replies.address]
    for name, url in (
        ("a", "s3://b/2026/beach.jpg"),
        ("b", "s3://b/2026/boat.jpg"),
        ("c", "s3://b/x"),
        ("d", None),
    ):
        replies.take(reply(name, url=url))
        seen.append(replies.address)
    assert seen == [None, "s3://b/2026/beach.jpg", "s3://b/2026/", "s3://b/", "s3://b/"]


def test_rubbish_in_the_reply_queue_is_let_pass() -> None:
    replies = expecting("a")
    for body in (b"", b"rubbish", b"[" * 100_000, b"x" * 2_000_000, b'{"app_id": "e1", "response_time": -1}'):
        replies.take(Delivery(body=body, queue="q", attempt=1, tag=None))
    assert replies.outstanding == {"a"}


def test_ids_found_in_the_dead_letter_queue_are_counted_once() -> None:
    replies = expecting("a", "b")
    replies.count_dead({"a": "no such bucket", "stranger": "gone"})
    replies.count_dead({"a": "no such bucket"})
    replies.take(reply("a", "dead"))
    assert (replies.dead, replies.outstanding) == (1, {"b"})
    assert [reason for _, reason in replies.failures] == ["no such bucket"]


def test_one_that_was_found_and_one_that_was_reported_are_below_a_common_address() -> None:
    replies = Replies(on_found=lambda found, _: f"s3://b/2026/{found.id}.jpg")
    for name in "ab":
        replies.expect(request(name))
    replies.count_found([(request("a"), StoredObject(7, None))])
    assert replies.address == "s3://b/2026/a.jpg"
    replies.take(reply("b", url="s3://b/2026/b.jpg"))
    assert replies.address == "s3://b/2026/"


def test_percentiles_are_of_the_stored_ones_by_nearest_rank() -> None:
    replies = expecting(*map(str, range(100)))
    assert replies.percentiles() == (None, None)
    for number in range(100):
        replies.take(reply(str(number), response_time=float(number + 1)))
    assert replies.percentiles() == (50.0, 95.0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0), (0.95, 1.0), (0.0, 1.0), (1.0, 1.0)])
def test_any_percentile_of_one_value_is_that_value(share: float, expected: float) -> None:
    assert nearest_rank([1.0], share) == expected
