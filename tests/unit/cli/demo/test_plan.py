from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from upswell.cli.demo.plan import (
    BURST_RATE,
    LARGEST,
    OBJECTIVE,
    QUIET_RATE,
    SERVICE_SECONDS,
    SMALLEST,
    checksum,
    make_files,
    pareto,
    take_files,
)
from upswell.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_makes_a_real_file_for_each_arrival(tmp_path: Path) -> None:
    plan = make_files(tmp_path, seconds=12, seed=1)
    assert len(plan.files) == len(plan.arrivals) == len(plan.sizes) > 50
    assert [path.stat().st_size for path in plan.files] == plan.sizes
    assert min(plan.sizes) >= SMALLEST
    assert max(plan.sizes) <= LARGEST
    assert len({path.read_bytes() for path in plan.files}) == len(plan.files)


def test_one_worker_is_enough_for_the_quiet_and_far_too_few_for_the_burst(tmp_path: Path) -> None:
    """Congestion must be real, and the calm must need the fewest workers again."""
    plan = make_files(tmp_path, seconds=45, seed=1)
    mean_service = sum(plan.sizes) / len(plan.sizes) / plan.rate
    assert mean_service <= SERVICE_SECONDS * 1.001
    assert QUIET_RATE * mean_service < 0.7
    assert BURST_RATE * mean_service > 2


def test_no_file_takes_longer_than_half_the_target(tmp_path: Path) -> None:
    """Else the target could not be kept by any number of workers, and the demo would prove nothing."""
    for number in range(20):
        (tmp_path / f"small-{number}").write_bytes(b"x" * 100)
    (tmp_path / "huge").write_bytes(b"x" * 1_000_000)
    plan = take_files(tmp_path, seconds=12, seed=1)
    assert max(plan.sizes) / plan.rate <= OBJECTIVE.seconds / 2


def test_the_users_files_are_all_uploaded_and_again_where_they_are_few(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}").write_bytes(b"x")
    plan = take_files(tmp_path, seconds=12, seed=1)
    assert len(plan.files) > 50
    assert {path.name for path in plan.files} == set("0123456")


def test_many_files_of_the_user_are_all_uploaded_in_the_same_time(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"{number}").write_bytes(b"x" * 50)
    plan = take_files(tmp_path, seconds=12, seed=1)
    assert len(set(plan.files)) == 600
    assert plan.arrivals[-1] < 12


def test_empty_files_alone_make_a_plan_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert take_files(tmp_path, seconds=12, seed=1).rate > 0


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one file"):
        take_files(tmp_path, seconds=12, seed=1)


def test_what_is_not_there_has_no_checksum(tmp_path: Path) -> None:
    assert checksum(tmp_path / "nothing") is None
    (tmp_path / "abc").write_bytes(b"abc")
    assert checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sizes_are_heavy_tailed_and_stay_within_their_ends() -> None:
    """The largest tenth holds most of all bytes: what makes uploads queue behind a large one."""
    rng = random.Random(1)
    sizes = sorted(pareto(rng, alpha=1.1, smallest=1_000, largest=10_000_000) for _ in range(20_000))
    assert sizes[0] >= 1_000
    assert sizes[-1] <= 10_000_000
    assert sum(sizes[-2_000:]) > 0.5 * sum(sizes)
