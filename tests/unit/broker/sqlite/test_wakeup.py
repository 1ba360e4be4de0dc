"""Pipes that wake a connection and prove that one died."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from upswell.broker.sqlite.wakeup import SILENT_SECONDS, WakeupPipe, Watch, wake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 50.0


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[WakeupPipe]:
    pipe = WakeupPipe(tmp_path, 7, NOW)
    yield pipe
    pipe.close()


def test_a_wake_ends_the_wait(pipe: WakeupPipe, tmp_path: Path) -> None:
    assert wake(tmp_path, 7)
    assert pipe.wait(60)


def test_a_wait_without_a_wake_ends_in_time(pipe: WakeupPipe) -> None:
    assert not pipe.wait(0)


def test_one_wait_takes_all_wakes(pipe: WakeupPipe, tmp_path: Path) -> None:
    for _ in range(3):
        wake(tmp_path, 7)
    assert pipe.wait(60)
    assert not pipe.wait(0)


def test_a_pipe_full_of_wakes_still_counts_as_alive(pipe: WakeupPipe, tmp_path: Path) -> None:
    """The kernel keeps 64 KiB; who does not listen is not dead for it."""
    for _ in range(70_000):
        assert wake(tmp_path, 7)


def test_a_pipe_that_nobody_reads_is_dead(tmp_path: Path) -> None:
    WakeupPipe(tmp_path, 7, NOW).close(remove=False)
    assert not wake(tmp_path, 7)
    assert Watch(tmp_path).dead([7], NOW) == [7]


def test_a_pipe_that_is_missing_proves_nothing_at_once(tmp_path: Path) -> None:
    """Someone may have emptied the folder; the living make theirs again."""
    assert wake(tmp_path, 7)
    watch = Watch(tmp_path)
    assert watch.dead([7], NOW) == []
    assert watch.dead([7], NOW + SILENT_SECONDS - 1) == []
    assert watch.dead([7], NOW + SILENT_SECONDS) == [7]


def test_a_stamp_makes_a_removed_folder_again(tmp_path: Path) -> None:
    folder = tmp_path / "bells"
    folder.mkdir()
    pipe = WakeupPipe(folder, 7, NOW)
    shutil.rmtree(folder)
    pipe.stamp(NOW + 1)
    assert wake(folder, 7)
    assert pipe.wait(60)
    assert Watch(folder).dead([7], NOW + 2) == []
    pipe.close()


def test_where_no_pipe_can_be_made_the_old_one_is_waited_at(tmp_path: Path) -> None:
    """Its descriptor must not be used once it is closed: its number may be an upload's source by then."""
    folder = tmp_path / "bells"
    folder.mkdir()
    pipe = WakeupPipe(folder, 7, NOW)
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(OSError, match="bells"):
        pipe.stamp(NOW + 1)
    assert not pipe.wait(0)
    folder.unlink()
    pipe.stamp(NOW + 2)
    assert wake(folder, 7)
    pipe.close()


def test_a_stamp_makes_a_removed_pipe_again(pipe: WakeupPipe, tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    (tmp_path / "7").unlink()
    assert watch.dead([7], NOW) == []
    pipe.stamp(NOW + 1)
    assert wake(tmp_path, 7)
    assert pipe.wait(60)
    assert watch.dead([7], NOW + SILENT_SECONDS) == []


def test_a_pipe_without_a_recent_stamp_counts_as_dead(pipe: WakeupPipe, tmp_path: Path) -> None:
    """Its process hangs."""
    watch = Watch(tmp_path)
    assert watch.dead([7], NOW + SILENT_SECONDS - 1) == []
    pipe.stamp(NOW + 1)
    assert watch.dead([7], NOW + SILENT_SECONDS) == []
    assert watch.dead([7], NOW + SILENT_SECONDS + 1) == [7]
