"""Duplicates: what was seen counts once."""

from __future__ import annotations

from upswell.analysis.duplicates import Duplicates


def test_the_same_attempt_is_seen_once_and_another_attempt_is_another_report() -> None:
    duplicates = Duplicates(60.0, 100)
    assert not duplicates.seen("a", 1, 0.0)
    assert duplicates.seen("a", 1, 1.0)
    assert not duplicates.seen("a", 2, 1.0)


def test_an_attempt_that_fails_again_and_again_uncounted_counts_each_time_and_may_succeed() -> None:
    duplicates = Duplicates(60.0, 100)
    assert [duplicates.seen("a", 1, at, failed_at=at) for at in (1.0, 2.0, 2.0)] == [False, False, True]
    assert [duplicates.seen("a", 1, at) for at in (3.0, 4.0)] == [False, True]


def test_what_was_seen_is_remembered_for_a_window_at_least() -> None:
    duplicates = Duplicates(60.0, 100)
    duplicates.seen("a", 1, 100.0)
    duplicates.seen("b", 1, 161.0)
    assert duplicates.seen("a", 1, 162.0)


def test_memory_is_bounded() -> None:
    duplicates = Duplicates(60.0, 100)
    for number in range(1000):
        duplicates.seen(str(number), 1, 0.0)
    assert len(duplicates._young) + len(duplicates._old) <= 100
    assert duplicates.seen("999", 1, 0.0)
    assert duplicates.seen("960", 1, 0.0)
