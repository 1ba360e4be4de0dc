"""A thousand uploads that fail alike are one line."""

from __future__ import annotations

import doctest

import pytest

from upswell.analysis import failure_reasons
from upswell.analysis.failure_reasons import MOST_REASONS, FailureReasons, RecentReasons, common_reason
from upswell.analysis.snapshot import FailureReason


def test_the_examples_hold() -> None:
    assert doctest.testmod(failure_reasons).failed == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the source does not exist: file:///in/a/1.jpg", "the source does not exist: file:///in/b/2.jpg"),
        ("store failed: 500: s3://b/x/1 (again)", "store failed: 500: s3://b/2 (again)"),
        ("sent 12 bytes, got 13 bytes", "sent 7 bytes, got 1 bytes"),
        (f"got sha256:{'a' * 64}", f"got sha256:{'b' * 64}"),
        ("cannot connect: https://host:8443/a?***", "cannot connect: https://host:8443/b/c"),
    ],
)
def test_what_differs_from_upload_to_upload_is_left_out(one: str, other: str) -> None:
    assert common_reason(one) == common_reason(other)


def test_what_differs_from_cause_to_cause_stays() -> None:
    assert common_reason("404 NoSuchBucket: s3://a/k") != common_reason("404 NoSuchBucket: s3://b/k")
    assert common_reason("exceeded upload_timeout (900 s)") == "exceeded upload_timeout (900 s)"


def test_the_newest_reason_comes_first_and_the_oldest_is_forgotten() -> None:
    reasons = FailureReasons()
    for reason in ("a", "b", "a", "c", "a"):
        reasons.add(reason)
    assert reasons.newest(2) == [("a", 3), ("c", 1)]
    for number in range(MOST_REASONS):
        reasons.add(f"hostile {number}")
    assert len(reasons.newest()) == MOST_REASONS
    assert reasons.lines(1) == [f"1 failed: hostile {MOST_REASONS - 1}"]


@pytest.mark.parametrize(
    "reason", ["a://" * 250_000, "a." * 500_000, "s3://" + "/." * 500_000, "s3://b/" * 150_000]
)
def test_a_hostile_reason_of_a_megabyte_takes_no_time(reason: str) -> None:
    assert len(common_reason(reason)) <= 1010


def test_the_reasons_of_a_window_are_counted_and_then_forgotten() -> None:
    recent = RecentReasons(60.0)
    for at in (100.0, 130.0, 131.0):
        recent.add("404 NoSuchBucket: s3://b/k", at)
    recent.add("full", 120.0)
    assert recent.newest(132.0, 3) == (
        FailureReason("full", 1),
        FailureReason("404 NoSuchBucket: s3://b/...", 3),
    )
    assert recent.newest(132.0, 1) == (FailureReason("full", 1),)
    assert recent.newest(170.0, 3) == (
        FailureReason("full", 1),
        FailureReason("404 NoSuchBucket: s3://b/...", 2),
    )
    assert recent.newest(200.0, 3) == ()


def test_hostile_reasons_of_a_window_take_bounded_memory_and_hold_no_secret() -> None:
    recent = RecentReasons(60.0)
    for number in range(1000):
        recent.add(f"{number} https://me:secret@host/?sig=1\n" + "x" * 10_000, 100.0)
    newest = recent.newest(100.0, 1000)
    assert len(newest) == 20
    assert all(len(reason.reason) < 400 and "secret" not in reason.reason for reason in newest)
    assert str(FailureReason("full", 1200)) == "1,200 failed: full"
