"""Duplicates: what was seen counts once."""

from __future__ import annotations

from upswell.analysis.duplicates import Duplicates


def test_the_same_report_is_seen_once_and_another_is_another() -> None:
    duplicates = Duplicates(60.0, 100)
    assert not duplicates.seen(b"a1", 0.0)
    assert duplicates.seen(b"a1", 1.0)
    assert not duplicates.seen(b"a2", 1.0)


def test_what_was_seen_is_remembered_for_a_window_at_least() -> None:
    duplicates = Duplicates(60.0, 100)
    duplicates.seen(b"a", 100.0)
    duplicates.seen(b"b", 161.0)
    assert duplicates.seen(b"a", 162.0)


def test_memory_is_bounded() -> None:
    duplicates = Duplicates(60.0, 100)
    for number in range(1000):
        duplicates.seen(b"%d" % number, 0.0)
    assert len(duplicates._young) + len(duplicates._old) <= 100
    assert duplicates.seen(b"999", 0.0)
    assert duplicates.seen(b"960", 0.0)
