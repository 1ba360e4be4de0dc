"""Whoever finds another's upload of the same key waits while that makes progress, and no longer.

What a lost request of one's own began is removed at the end, and nobody's upload with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.settings import Settings
from upswell.stores.destinations import turns

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 10.0


class Bucket:
    """Shows the unfinished uploads of each second in turn, the last ones from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Iterable[dict[str, int]]) -> None:
        self.seconds = list(seconds)
        self.now = 0.0
        self.aborted: dict[str, float] = {}
        monkeypatch.setattr(turns, "unfinished_uploads", lambda *_: self.shown())
        monkeypatch.setattr(turns, "abort_uploads", lambda _bucket, _key, ids, _settings: self.abort(ids))

    def shown(self) -> dict[str, int]:
        """Return what is unfinished now."""
        second = self.seconds[min(int(self.now), len(self.seconds) - 1)]
        return {upload: parts for upload, parts in second.items() if upload not in self.aborted}

    def abort(self, ids: Iterable[str]) -> None:
        """Remember when which were aborted."""
        self.aborted |= dict.fromkeys(ids, self.now)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def wait(self) -> bool:
        """Wait for the turn."""
        return turns.wait_for_turn(
            "b",
            "k",
            Settings(),
            patience=PATIENCE,
            check=self.check,
            sleep=self.sleep,
            monotonic=lambda: self.now,
        )

    def remove_lost(self, *, completed: float) -> None:
        """Look for lost uploads now, and remove them once ours is completed."""
        lost = turns.LostUploads(
            "b", "k", Settings(), patience=PATIENCE, sleep=self.sleep, monotonic=lambda: self.now
        )
        lost.look()
        self.now = completed
        lost.remove(self.check)

    def check(self) -> None:
        """Give up after a thousand seconds."""
        assert self.now < 1000


def test_with_nobody_else_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, [{}])
    assert not bucket.wait()
    assert bucket.now == 0


def test_an_upload_that_makes_progress_is_waited_for_and_never_aborted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = Bucket(monkeypatch, [*({"first": second // 9} for second in range(100)), {}])
    assert bucket.wait()
    assert (bucket.now, bucket.aborted) == (100, {})


@pytest.mark.parametrize("parts", [0, 7, -1])
def test_one_that_makes_none_is_removed_after_the_patience(
    monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    bucket = Bucket(monkeypatch, [{"dead": parts}])
    assert bucket.wait()
    assert bucket.aborted == {"dead": PATIENCE}


def test_the_dead_one_beside_a_living_one_is_removed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, [*({"dead": 3, "alive": second} for second in range(30)), {}])
    assert bucket.wait()
    assert (bucket.now, bucket.aborted) == (30, {"dead": PATIENCE})


def test_waiting_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, [{"first": second} for second in range(2000)])
    with pytest.raises(AssertionError):
        bucket.wait()


@pytest.mark.parametrize("completed", [1.0, PATIENCE, 60.0])
def test_what_a_lost_request_began_gets_no_part_and_is_removed(
    monkeypatch: pytest.MonkeyPatch, completed: float
) -> None:
    others = {"another's": 1, "not told": -1}
    bucket = Bucket(monkeypatch, [{"ours": 0, "lost": 0, **others}, {"lost": 0, **others}])
    bucket.remove_lost(completed=completed)
    assert bucket.aborted == {"lost": max(completed, PATIENCE)}


def test_nothing_is_waited_for_where_ours_was_alone_and_whoever_begins_later_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = Bucket(monkeypatch, [{"ours": 0}, {"next in turn": 0}])
    bucket.remove_lost(completed=60.0)
    assert (bucket.now, bucket.aborted) == (60.0, {})


def test_another_who_began_at_the_same_moment_is_left_alone_beside_a_lost_one_and_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = {"lost": 0, "next in turn": 0}
    bucket = Bucket(
        monkeypatch,
        [{"ours": 0, "slow": 0, "lost": 0}, *[{"slow": 0, **later}] * 5, {"slow": 1, **later}],
    )
    bucket.remove_lost(completed=2.0)
    assert bucket.aborted == {"lost": PATIENCE}


def test_another_who_began_at_the_same_moment_is_waited_for_no_longer_than_to_its_first_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = Bucket(monkeypatch, [*[{"ours": 0, "slow": 0}] * 5, {"slow": 1}])
    bucket.remove_lost(completed=2.0)
    assert (bucket.now, bucket.aborted) == (5.0, {})


def test_waiting_for_a_first_part_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, [{"ours": 0, "lost": 0}])
    monkeypatch.setattr(bucket, "check", lambda: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception, match="stopped"):
        bucket.remove_lost(completed=2.0)
    assert bucket.aborted == {}
