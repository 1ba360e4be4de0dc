"""FIFOs that wake a connection and prove that one died."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.broker.sqlite.wakeup import SILENT_TICKS, WakeupPipe, Watch, ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[WakeupPipe]:
    bell = WakeupPipe(tmp_path, 7)
    yield bell
    bell.close()


def test_a_ring_ends_the_wait(bell: WakeupPipe, tmp_path: Path) -> None:
    assert ring(tmp_path, 7)
    assert bell.wait(10)


def test_a_poke_ends_the_wait_and_is_no_ring(bell: WakeupPipe) -> None:
    bell.poke()
    assert not bell.wait(10)


def test_a_wait_without_a_ring_ends_in_time(bell: WakeupPipe) -> None:
    assert not bell.wait(0)


def test_one_wait_takes_all_rings(bell: WakeupPipe, tmp_path: Path) -> None:
    for _ in range(3):
        ring(tmp_path, 7)
    assert bell.wait(10)
    assert not bell.wait(0)


def test_a_bell_full_of_rings_still_counts_as_alive(bell: WakeupPipe, tmp_path: Path) -> None:
    """The kernel keeps 64 KiB; who does not listen is not dead for it."""
    for _ in range(70_000):
        assert ring(tmp_path, 7)
    bell.poke()


def test_a_bell_that_nobody_reads_is_dead(tmp_path: Path) -> None:
    WakeupPipe(tmp_path, 7).close(remove=False)
    assert not ring(tmp_path, 7)
    assert Watch(tmp_path).dead([7]) == [7]


def test_a_bell_that_is_missing_proves_nothing_at_once(tmp_path: Path) -> None:
    """Someone may have emptied the folder; the living make theirs again."""
    assert ring(tmp_path, 7)
    watch = Watch(tmp_path)
    looks = [watch.dead([7]) for _ in range(SILENT_TICKS + 1)]
    assert looks == [[]] * SILENT_TICKS + [[7]]


def test_a_touch_makes_a_removed_bell_again(bell: WakeupPipe, tmp_path: Path) -> None:
    (tmp_path / "7").unlink()
    bell.touch()
    assert ring(tmp_path, 7)
    assert bell.wait(10)


def test_a_bell_that_is_touched_now_and_then_never_counts_as_dead(bell: WakeupPipe, tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for look in range(3 * SILENT_TICKS):
        if look % (SILENT_TICKS - 1) == 0:
            bell.touch()
        assert watch.dead([7]) == []


def test_a_bell_that_is_never_touched_counts_as_dead_after_so_many_looks(
    bell: WakeupPipe, tmp_path: Path
) -> None:
    """Its process hangs; only the watcher's own looks are counted, no clock is read."""
    watch = Watch(tmp_path)
    looks = [watch.dead([7]) for _ in range(SILENT_TICKS + 1)]
    assert looks == [[]] * SILENT_TICKS + [[7]]


def test_a_closed_bell_can_be_poked(tmp_path: Path) -> None:
    """Another thread may be late; its byte must not land in whatever file has the descriptor now."""
    bell = WakeupPipe(tmp_path, 7)
    bell.close()
    bell.poke()
