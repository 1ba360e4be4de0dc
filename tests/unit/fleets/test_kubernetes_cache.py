"""The fleet's picture of its pods: what lists, events and its own doings make of it."""

from __future__ import annotations

from msgspec.structs import replace

from upswell.fleets.kubernetes.cache import PodCache
from upswell.fleets.kubernetes.pods import SeenPod


def pod(name: str = "w1", **more: object) -> SeenPod:
    made = SeenPod(name=name, uid=f"uid-{name}", worker_id=name, app_id="a1", requested_at=1.0)
    return replace(made, **more)


def states(cache: PodCache) -> dict[str, str]:
    return {worker.worker_id: worker.state for worker in cache.workers(0.0, patience=1.0)}


def test_a_list_is_the_whole_truth() -> None:
    cache = PodCache()
    cache.put(pod("w1"))
    cache.begin_list()
    cache.put_list([pod("w2")])
    assert states(cache) == {"w1": "exited", "w2": "running"}


def test_a_worker_that_was_created_while_a_list_was_on_its_way_is_not_gone() -> None:
    cache = PodCache()
    cache.begin_list()
    cache.add(pod("w1"))
    cache.put_list([])
    assert states(cache) == {"w1": "running"}
    cache.begin_list()
    cache.put_list([])
    assert states(cache) == {"w1": "exited"}


def test_the_answer_to_a_creation_does_not_undo_what_the_watch_has_shown_since() -> None:
    cache = PodCache()
    cache.put(pod("w1", ended=True, exit_code=3))
    cache.add(pod("w1"))
    assert states(cache) == {"w1": "exited"}
    cache.delete(pod("w2", ended=True))
    cache.add(pod("w2"))
    assert states(cache)["w2"] == "exited"


def test_a_deleted_pod_shows_its_end_until_it_is_forgotten() -> None:
    cache = PodCache()
    cache.put(pod())
    cache.delete(pod(ended=True, exit_code=0, leaving=True))
    (worker,) = cache.workers(0.0, patience=1.0)
    assert (worker.state, worker.exit_code, worker.evicted) == ("exited", 0, True)
    assert cache.forget("w1") is None
    assert states(cache) == {}


def test_a_worker_that_the_fleet_told_to_end_was_not_evicted() -> None:
    cache = PodCache()
    cache.put(pod())
    cache.tell(pod())
    cache.put(pod(ended=True, exit_code=0, leaving=True))
    assert not cache.workers(0.0, patience=1.0)[0].evicted
    cache.delete(pod(ended=True, exit_code=0, leaving=True))
    assert not cache.workers(0.0, patience=1.0)[0].evicted


def test_a_worker_that_somebody_deletes_and_that_drains_was_evicted() -> None:
    cache = PodCache()
    cache.put(pod(leaving=True))
    assert not cache.workers(0.0, patience=1.0)[0].evicted  # it runs still
    cache.put(pod(ended=True, exit_code=0, leaving=True))
    assert cache.workers(0.0, patience=1.0)[0].evicted


def test_a_crash_is_no_eviction_even_when_its_pod_is_removed_by_somebody() -> None:
    cache = PodCache()
    cache.put(pod(ended=True, exit_code=1))
    cache.delete(pod(ended=True, exit_code=1))
    assert not cache.workers(0.0, patience=1.0)[0].evicted


def test_a_forgotten_pod_is_shown_no_more_and_must_be_deleted_once() -> None:
    cache = PodCache()
    cache.put(pod(ended=True, exit_code=0))
    assert cache.forget("w1") is not None
    assert cache.forget("w1") is None
    cache.put(pod(ended=True, exit_code=0, leaving=True))
    assert states(cache) == {}
    cache.delete(pod(ended=True, exit_code=0, leaving=True))
    assert states(cache) == {}


def test_a_pod_that_is_being_deleted_need_not_be_deleted_again() -> None:
    cache = PodCache()
    cache.put(pod(ended=True, exit_code=0, leaving=True))
    assert cache.forget("w1") is None
    assert states(cache) == {}


def test_a_deletion_that_failed_shows_the_pod_again() -> None:
    cache = PodCache()
    cache.put(pod(ended=True))
    forgotten = cache.forget("w1")
    assert forgotten is not None
    cache.remember(forgotten)
    assert states(cache) == {"w1": "exited"}


def test_a_forgotten_pod_that_a_list_no_longer_has_leaves_nothing_behind() -> None:
    cache = PodCache()
    cache.put(pod(ended=True))
    cache.forget("w1")
    cache.begin_list()
    cache.put_list([])
    assert states(cache) == {}
    assert cache.last_seen("w1") is None
