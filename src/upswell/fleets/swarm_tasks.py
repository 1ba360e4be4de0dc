"""From what Swarm says of a worker's service, its task and its node, to the worker. Pure.

In: the engine's JSON. Out: workers. A task on a node that is down is lost: nobody restarts a job's task, so
its service is removed and another worker takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from upswell.fleets.worker_labels import labelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.fleets.protocol import FleetWorker

_BEFORE_A_NODE = ("new", "pending", "allocated")
_ON_ITS_NODE = ("assigned", "accepted", "preparing", "ready", "starting")
_ENDED_BY_SWARM = ("shutdown", "orphaned", "remove")


class SwarmNode(Struct, frozen=True):
    """A node: its name, whether it is down, and whether its operator empties it."""

    name: str
    down: bool
    drained: bool


def read_node(found: Mapping[str, Any]) -> SwarmNode:
    """Return the node that the engine describes."""
    name = found.get("Description", {}).get("Hostname") or found["ID"]
    return SwarmNode(name, found["Status"]["State"] == "down", found["Spec"]["Availability"] == "drain")


def read_worker(
    labels: Mapping[str, str], task: Mapping[str, Any] | None, nodes: Mapping[str, SwarmNode]
) -> FleetWorker | None:
    """Return a worker by its service's labels and its task; None: the labels are not ours."""
    worker = labelled(labels)
    if worker is None or task is None:
        return worker
    state, said = task["Status"]["State"], task["Status"].get("Err") or ""
    node = nodes.get(task.get("NodeID") or "")
    if node is not None:
        worker = replace(worker, node=node.name, cordoned=node.drained)
    if node and node.down and state in ("running", *_ON_ITS_NODE):
        return replace(worker, state="exited", evicted=True)
    if state not in ("running", *_BEFORE_A_NODE, *_ON_ITS_NODE):
        return _ended(worker, state, task["Status"])
    pending = {
        "running": "",
        **dict.fromkeys(_BEFORE_A_NODE, said or "waits for a node"),
        **dict.fromkeys(_ON_ITS_NODE, f"is prepared on {worker.node or 'its node'}: its image may be pulled"),
    }
    return replace(worker, pending=pending[state])


def _ended(worker: FleetWorker, state: str, status: Mapping[str, Any]) -> FleetWorker:
    code = status.get("ContainerStatus", {}).get("ExitCode")
    if state in _ENDED_BY_SWARM:
        return replace(worker, state="exited", evicted=True, exit_code=code)
    return replace(worker, state="exited", exit_code=None if state == "rejected" else code or 0)
