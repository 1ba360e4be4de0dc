"""From a task's state to a worker: what is starting, what crashed, and what Swarm itself ended."""

from __future__ import annotations

from typing import Any

import pytest

from upswell.fleets.protocol import WorkerSpec
from upswell.fleets.swarm_tasks import SwarmNode, read_node, read_worker
from upswell.fleets.worker_labels import labels, platform_name
from upswell.settings import Settings

SPEC = WorkerSpec(worker_id="w1", app_id="a1", standby=False, requested_at=5.0, environment={})
LABELS, _ = labels(SPEC, "here", Settings(apps={"a1": {}}), reports_status=True)
UP, DOWN, DRAINED = (
    SwarmNode("one", down=False, drained=False),
    SwarmNode("one", down=True, drained=False),
    SwarmNode("one", down=False, drained=True),
)


def task(state: str, error: str = "", code: int | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"State": state, "Err": error}
    if code is not None:
        status["ContainerStatus"] = {"ExitCode": code}
    return {"NodeID": "n1", "Status": status}


def seen(found: dict[str, Any] | None, node: SwarmNode = UP) -> tuple[str, str, int | None, bool]:
    worker = read_worker(LABELS, found, {"n1": node})
    assert worker is not None
    return worker.state, worker.pending, worker.exit_code, worker.evicted


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, ("running", "", None, False)),
        (task("running"), ("running", "", None, False)),
        (task("pending", "no suitable node (scheduling constraints not satisfied on 3 nodes)"),
         ("running", "no suitable node (scheduling constraints not satisfied on 3 nodes)", None, False)),
        (task("preparing"), ("running", "is prepared on one: its image may be pulled", None, False)),
        (task("complete", code=0), ("exited", "", 0, False)),
        (task("failed", "task: non-zero exit (3)", code=3), ("exited", "", 3, False)),
        (task("rejected", "No such image: x"), ("exited", "", None, False)),
        (task("shutdown", code=137), ("exited", "", 137, True)),
        (task("orphaned"), ("exited", "", None, True)),
    ],
)  # fmt: skip
def test_each_state_of_a_task_is_a_worker_s(
    found: dict[str, Any] | None, expected: tuple[str, str, int | None, bool]
) -> None:
    assert seen(found) == expected


@pytest.mark.parametrize("state", ["running", "preparing"])
def test_a_worker_on_a_node_that_is_down_is_lost_and_no_crash(state: str) -> None:
    assert seen(task(state), DOWN) == ("exited", "", None, True)


def test_a_worker_on_a_node_that_its_operator_empties_is_to_be_replaced() -> None:
    worker = read_worker(LABELS, task("running"), {"n1": DRAINED})
    assert worker is not None
    assert (worker.cordoned, worker.state, worker.node) == (True, "running", "one")


def test_labels_of_others_are_no_worker() -> None:
    assert read_worker({"upswell.worker": "w1", "upswell.requested_at": "soon"}, None, {}) is None


def test_a_node_is_read_with_its_state_and_its_availability() -> None:
    found = {"ID": "n1", "Description": {}, "Status": {"State": "down"}, "Spec": {"Availability": "drain"}}
    assert read_node(found) == SwarmNode("n1", down=True, drained=True)


def test_a_name_is_a_dns_label_however_long_the_application_s_is() -> None:
    long = ["a" * 64 + "-0123456789", "a" * 64 + "-0123456780"]
    assert len({platform_name(worker_id) for worker_id in long}) == 2
    assert all(len(platform_name(worker_id)) <= 63 for worker_id in long)
