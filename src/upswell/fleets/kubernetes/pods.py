"""From a pod as the API server shows it to what the fleet must know of it. Pure.

In: a pod. Out: whether its worker has ended and how, why it does not run yet, and who ended it. The container
named `worker` is judged, never the pod's phase alone: a service mesh keeps pods running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import Struct

from upswell.fleets.kubernetes.manifest import APP, CONTAINER, REQUESTED_AT, STANDBY, WORKER
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightkube.models.core_v1 import ContainerStatus, PodStatus
    from lightkube.resources.core_v1 import Pod

HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
"""Reasons to wait that nothing but other settings ends."""

USUAL = ("", "ContainerCreating", "PodInitializing")

EVICTIONS = (
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
)
"""Reasons of a failed pod that its node gives, and not its worker."""

_NODE_IS_FULL = "OutOf"
_UNKNOWN_END = "ContainerStatusUnknown"


class SeenPod(Struct, frozen=True, kw_only=True):
    """A worker's pod.

    `exit_code`: None where it runs, or its end is not known. `waits`: why it does not run yet, and `stuck`:
    it will not without a change, or a hope that it is one; `hopeless`: it never will. `evicted`: its node
    ended it. `leaving`: somebody told it to end. `why`: the platform's words on its end; `last_lines`: the
    worker's own, where it failed.
    """

    name: str
    uid: str
    worker_id: str
    app_id: str
    requested_at: float
    standby: bool = False
    node: str = ""
    ended: bool = False
    exit_code: int | None = None
    waits: str = ""
    stuck: bool = False
    hopeless: bool = False
    evicted: bool = False
    leaving: bool = False
    why: str = ""
    last_lines: str = ""


def see_pod(pod: Pod) -> SeenPod | None:
    """Return what a pod is; None where it is no worker of ours."""
    metadata, status = pod.metadata, pod.status
    if metadata is None or not metadata.name or not metadata.uid:
        return None
    notes = cast("dict[str, str]", metadata.annotations or {})  # type: ignore[reportUnknownMemberType] - untyped
    if WORKER not in notes or APP not in notes:
        return None
    own = _of_worker(status)
    terminated = own.state.terminated if own and own.state else None
    ended = terminated is not None or (status is not None and status.phase in ("Succeeded", "Failed"))
    known = terminated is not None and terminated.reason != _UNKNOWN_END
    reason, message = ("", "") if ended or status is None else _waiting(status)
    return SeenPod(
        name=metadata.name,
        uid=metadata.uid,
        worker_id=notes[WORKER],
        app_id=notes[APP],
        requested_at=_number(notes.get(REQUESTED_AT)),
        standby=notes.get(STANDBY) == "true",
        node=(pod.spec.nodeName if pod.spec else None) or "",
        ended=ended,
        exit_code=terminated.exitCode if terminated is not None and known else None,
        waits=_joined(reason, message),
        stuck=reason not in (*USUAL, "Unschedulable", "SchedulingGated"),
        hopeless=reason in HOPELESS,
        evicted=ended and status is not None and _is_evicted(status),
        leaving=metadata.deletionTimestamp is not None,
        why=_why(terminated.reason if terminated else None, status),
        last_lines=(terminated.message or "").strip() if terminated else "",
    )


def _of_worker(status: PodStatus | None) -> ContainerStatus | None:
    found = (status.containerStatuses if status else None) or []
    return next((one for one in found if one.name == CONTAINER), None)


def _waiting(status: PodStatus) -> tuple[str, str]:
    """Return why a pod does not run, in the platform's words: unschedulable, or a container that waits."""
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.reason or "", condition.message or ""
    containers: Sequence[ContainerStatus] = [
        *(status.initContainerStatuses or []),
        *(status.containerStatuses or []),
    ]
    for container in containers:
        waiting = container.state.waiting if container.state else None
        if waiting is not None and (waiting.reason or "") not in USUAL:
            return waiting.reason or "", waiting.message or ""
    return "", ""


def _is_evicted(status: PodStatus) -> bool:
    reason = status.reason or ""
    disrupted = any(
        condition.type == "DisruptionTarget" and condition.status == "True"
        for condition in status.conditions or []
    )
    return disrupted or reason in EVICTIONS or reason.startswith(_NODE_IS_FULL)


def _why(reason: str | None, status: PodStatus | None) -> str:
    """Return what the platform says on a pod's end: OOMKilled, StartError, Evicted with its message."""
    if reason and reason not in ("Completed", "Error"):
        return reason
    return _joined(status.reason, status.message or "") if status is not None and status.reason else ""


def _joined(reason: str, message: str) -> str:
    return safe(f"{reason}: {message}" if message else reason)


def _number(text: str | None) -> float:
    """Return when a worker was asked for; 0 for a label that somebody changed."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
