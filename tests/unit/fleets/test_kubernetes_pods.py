"""What a pod, as the API server shows it, means to the fleet."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources.core_v1 import Pod

from upswell.fleets.kubernetes.cache import PodCache
from upswell.fleets.kubernetes.pods import SeenPod, see_pod

NOTES = {
    "upswell/worker": "w1",
    "upswell/app": "My_App",
    "upswell/requested-at": "12.5",
    "upswell/standby": "true",
}


def seen(status: dict[str, Any] | None = None, uid: str = "u1", **metadata: Any) -> SeenPod:
    found = see_pod(
        Pod.from_dict(
            {
                "metadata": {"name": "w1", "uid": uid, "annotations": NOTES, **metadata},
                "spec": {"nodeName": "node0", "containers": []},
                "status": status or {},
            }
        )
    )
    assert found is not None
    return found


def container(name: str, **state: Any) -> dict[str, Any]:
    common = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {**common, "state": state}


def terminated(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def test_annotations_hold_all_the_fleets_state() -> None:
    pod = seen({"phase": "Running"})
    assert (pod.worker_id, pod.app_id, pod.requested_at, pod.standby, pod.node) == (
        "w1",
        "My_App",
        12.5,
        True,
        "node0",
    )
    assert not pod.ended
    assert pod.waits == ""


def test_a_pod_that_is_no_worker_is_not_seen() -> None:
    assert see_pod(Pod.from_dict({"metadata": {"name": "x", "uid": "u"}})) is None
    assert see_pod(Pod.from_dict({})) is None


def test_a_label_that_somebody_changed_does_not_hide_the_worker() -> None:
    assert seen(annotations={**NOTES, "upswell/requested-at": "noon"}).requested_at == 0.0


def test_the_container_named_worker_counts_while_a_sidecar_keeps_the_pod_running() -> None:
    statuses = [container("istio-proxy", running={}), container("worker", **terminated(0, "Completed"))]
    pod = seen({"phase": "Running", "containerStatuses": statuses})
    assert pod.ended
    assert pod.exit_code == 0


def test_a_sidecar_that_ended_is_no_end_of_the_worker() -> None:
    statuses = [container("logs", **terminated(1)), container("worker", running={})]
    assert not seen({"phase": "Running", "containerStatuses": statuses}).ended


def test_a_crash_brings_its_code_and_its_last_lines() -> None:
    statuses = [container("worker", **terminated(3, message="one\ntwo\n"))]
    pod = seen({"phase": "Failed", "containerStatuses": statuses})
    assert (pod.exit_code, pod.last_lines, pod.why, pod.evicted) == (3, "one\ntwo", "", False)


def test_what_the_platform_says_on_an_end_is_kept() -> None:
    statuses = [container("worker", **terminated(137, "OOMKilled"))]
    assert seen({"phase": "Failed", "containerStatuses": statuses}).why == "OOMKilled"


def test_an_end_that_the_kubelet_lost_sight_of_has_no_exit_code() -> None:
    statuses = [container("worker", **terminated(137, "ContainerStatusUnknown"))]
    pod = seen({"phase": "Failed", "containerStatuses": statuses})
    assert pod.ended
    assert pod.exit_code is None


@pytest.mark.parametrize("reason", ["Evicted", "Preempting", "NodeLost", "Terminated", "OutOfcpu"])
def test_a_pod_that_its_node_ended_was_evicted(reason: str) -> None:
    pod = seen({"phase": "Failed", "reason": reason, "message": "The node was low on memory."})
    assert pod.evicted
    assert pod.why == f"{reason}: The node was low on memory."


def test_a_pod_with_a_disruption_target_was_evicted() -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    pod = seen(
        {
            "phase": "Failed",
            "conditions": [condition],
            "containerStatuses": [container("worker", **terminated(137))],
        }
    )
    assert pod.evicted


def test_an_unschedulable_pod_says_why_and_is_not_stuck() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    pod = seen({"phase": "Pending", "conditions": [condition]})
    assert pod.waits == "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
    assert not pod.stuck


def test_a_container_that_is_being_created_waits_for_nothing_worth_a_word() -> None:
    statuses = [container("worker", waiting={"reason": "ContainerCreating"})]
    pod = seen({"phase": "Pending", "containerStatuses": statuses})
    assert (pod.waits, pod.stuck) == ("", False)


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
def test_an_image_that_cannot_be_pulled_is_a_reason_to_wait_for_a_while(kind: str) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    pod = seen({"phase": "Pending", kind: [container("worker", waiting=waiting)]})
    assert pod.waits == "ImagePullBackOff: Back-off pulling image"
    assert pod.stuck
    assert not pod.hopeless


def waiting_pod(reason: str) -> SeenPod:
    return seen({"phase": "Pending", "containerStatuses": [container("worker", waiting={"reason": reason})]})


def test_a_worker_whose_image_cannot_be_had_has_failed_after_a_while() -> None:
    cache = PodCache()
    cache.put(waiting_pod("ErrImagePull"))
    (worker,) = cache.workers(100.0, patience=60.0)
    assert (worker.state, worker.pending) == ("running", "ErrImagePull")
    cache.put(waiting_pod("ImagePullBackOff"))  # Kubernetes goes back and forth between the two
    assert cache.workers(160.0, patience=60.0)[0].state == "running"
    (worker,) = cache.workers(160.1, patience=60.0)
    assert (worker.state, worker.exit_code, worker.pending, worker.evicted) == ("exited", None, "", False)


def test_an_image_that_came_in_the_end_makes_a_worker() -> None:
    cache = PodCache()
    cache.put(waiting_pod("ErrImagePull"))
    cache.workers(0.0, patience=60.0)
    cache.put(seen({"phase": "Running"}))
    assert cache.workers(1000.0, patience=60.0)[0].state == "running"


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_can_never_come_fails_at_once(reason: str) -> None:
    cache = PodCache()
    cache.put(waiting_pod(reason))
    assert cache.workers(0.0, patience=60.0)[0].state == "exited"
