"""Whoever finds another's upload of the same key waits while that makes progress, and no longer."""

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


def test_only_uploads_without_a_part_are_removed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(monkeypatch, [{"lost": 0, "another's": 1, "not told": -1}])
    turns.remove_empty("b", "k", Settings())
    assert bucket.aborted.keys() == {"lost"}
