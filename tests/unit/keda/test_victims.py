"""Who rests, who consumes, and the number that KEDA may see meanwhile."""

from __future__ import annotations

import random

import pytest

from upswell.keda.victims import HeardWorker, RestChoice, choose, number
from upswell.scaler.plan import Target


def worker(
    name: str, *, consumes: bool = True, busy: int = 0, removable: bool = False, started_at: float = 0.0
) -> HeardWorker:
    return HeardWorker(
        worker_id=name, consumes=consumes, busy=busy, removable=removable, started_at=started_at
    )


def test_the_idlest_rest_and_the_busiest_never_do() -> None:
    workers = [worker("a", busy=3), worker("b", busy=0), worker("c", busy=1), worker("d", busy=4)]
    assert choose(workers, 2) == RestChoice(rest=("b", "c"))


def test_of_equally_idle_ones_the_youngest_rests() -> None:
    workers = [worker("old", started_at=1), worker("young", started_at=9), worker("middle", started_at=5)]
    assert choose(workers, 2).rest == ("young",)


def test_when_the_number_rises_again_those_that_still_hold_uploads_come_back_first() -> None:
    resting = [worker("idle", consumes=False), worker("busy", consumes=False, busy=2)]
    assert choose([worker("a"), *resting], 2) == RestChoice(activate=("busy",))
    assert set(choose([worker("a"), *resting], 5).activate) == {"idle", "busy"}


def test_as_many_as_wanted_are_told_nothing() -> None:
    assert choose([worker("a"), worker("b", consumes=False)], 1) == RestChoice()


def test_the_number_falls_only_by_those_that_are_idle_at_rest() -> None:
    resting = [worker(name, consumes=False, busy=1) for name in "bcd"]
    wanted = Target(1, 0)
    assert number([worker("a"), *resting], wanted, 4, coming=False) == 4
    one_done = [worker("b", consumes=False, removable=True), *resting[1:]]
    assert number([worker("a"), *one_done], wanted, 4, coming=False) == 3
    all_done = [worker(name, consumes=False, removable=True) for name in "bcd"]
    assert number([worker("a"), *all_done], wanted, 3, coming=False) == 1


def test_the_number_rises_at_once() -> None:
    assert number([worker("a")], Target(7, 0), 1, coming=False) == 7


def test_workers_that_stand_by_are_pods_too() -> None:
    workers = [worker("a"), worker("b", consumes=False, removable=True)]
    assert number(workers, Target(1, 1), 2, coming=False) == 2


def test_pods_that_may_still_be_starting_keep_the_number_until_they_are_heard() -> None:
    """One that was chosen to go while it was not ready may take uploads a moment later."""
    assert number([worker("a")], Target(2, 0), 5, coming=True) == 5
    assert number([worker("a")], Target(2, 0), 5, coming=False) == 2


@pytest.mark.parametrize("claimed", [0, 7, 1000])
def test_no_claimed_worker_raises_the_number(claimed: int) -> None:
    """A status is a message, and anybody may send one."""
    workers = [worker(f"w{number}", busy=9) for number in range(claimed)]
    assert number(workers, Target(3, 0), 3, coming=False) == 3


def test_at_no_time_are_more_asked_to_go_than_are_idle() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        pods = rng.randint(0, 12)
        workers = [
            worker(str(name), consumes=rng.random() < 0.5, busy=rng.randint(0, 3)) for name in range(pods)
        ]
        workers = [
            worker(w.worker_id, consumes=w.consumes, busy=w.busy, removable=not w.consumes and not w.busy)
            for w in workers
        ]
        wanted, told = Target(rng.randint(0, 12), rng.randint(0, 2)), pods
        seen = number(workers, wanted, told, coming=False)
        assert seen >= wanted.ready + wanted.standby
        assert told - seen <= sum(w.removable for w in workers)
