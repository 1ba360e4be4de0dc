"""The workers' pods as the API server last showed them, and those that it no longer has. Does no I/O.

In: lists, watch events, and what this fleet did itself (it sees its own writes at once). Out: the workers.
It knows neither the API nor a clock: the caller says what time it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.fleets.protocol import FleetWorker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.fleets.kubernetes.pods import SeenPod


class PodCache:
    """Pods by their uid. A deleted one is kept as ended until its worker is forgotten: it must be seen."""

    def __init__(self) -> None:
        self._pods: dict[str, SeenPod] = {}
        self._gone: dict[str, SeenPod] = {}
        self._forgotten: set[str] = set()
        self._told: set[str] = set()
        self._added_since_list: set[str] = set()
        self._stuck_since: dict[str, float] = {}

    def begin_list(self) -> None:
        """Take note that a list is asked for: it may lack what is added from now on."""
        self._added_since_list.clear()

    def unseen_ends(self, pods: Iterable[SeenPod]) -> set[str]:
        """Return the uids of those that a list lacks although they had not ended when last seen."""
        return {uid for uid in self._vanished({pod.uid for pod in pods}) if not self._pods[uid].ended}

    def put_list(self, pods: Iterable[SeenPod]) -> None:
        """Take a list for the whole truth, but for what was added since it was asked for."""
        listed = {pod.uid: pod for pod in pods}
        for uid in self._vanished(listed.keys()):
            self.delete(self._pods[uid])
        kept = {uid: pod for uid, pod in self._pods.items() if uid in self._added_since_list}
        self._pods = {**kept, **{uid: pod for uid, pod in listed.items() if uid not in self._gone}}
        self._forgotten &= self._pods.keys()
        self._told &= self._pods.keys() | self._gone.keys()

    def _vanished(self, listed: Iterable[str]) -> set[str]:
        return self._pods.keys() - listed - self._added_since_list

    def put(self, pod: SeenPod) -> bool:
        """Take a pod as a watch shows it; return whether that is news: a kubelet says much that is none."""
        if pod.uid in self._gone or self._pods.get(pod.uid) == pod:
            return False
        self._pods[pod.uid] = pod
        return True

    def add(self, pod: SeenPod) -> None:
        """Add a pod that was just created; where the watch was faster, it knows more."""
        if pod.uid not in self._pods and pod.uid not in self._gone:
            self._pods[pod.uid] = pod
            self._added_since_list.add(pod.uid)

    def delete(self, pod: SeenPod) -> None:
        """Take note that a pod is gone, with the last that is known of it."""
        self._pods.pop(pod.uid, None)
        self._stuck_since.pop(pod.uid, None)
        if pod.uid in self._forgotten:
            self._forgotten.discard(pod.uid)
            self._told.discard(pod.uid)
        else:
            taken = pod.evicted or pod.leaving or not pod.ended
            self._gone[pod.uid] = replace(pod, ended=True, evicted=taken)

    def find(self, worker_id: str) -> SeenPod | None:
        """Return the pod of a worker that the API server still has and nobody forgot; None: there is none."""
        for pod in self._pods.values():
            if pod.worker_id == worker_id and pod.uid not in self._forgotten:
                return pod
        return None

    def last_seen(self, worker_id: str) -> SeenPod | None:
        """Return the last that is known of a worker's pod, gone ones included."""
        gone = (pod for pod in self._gone.values() if pod.worker_id == worker_id)
        return self.find(worker_id) or next(gone, None)

    def tell(self, pod: SeenPod) -> None:
        """Take note that this fleet tells a pod to end: whoever ends it, it was not the platform."""
        self._told.add(pod.uid)

    def forget(self, worker_id: str) -> SeenPod | None:
        """Show a worker no more; return its pod where somebody must still delete it."""
        for uid in [uid for uid, pod in self._gone.items() if pod.worker_id == worker_id]:
            del self._gone[uid]
            self._told.discard(uid)
        pod = self.find(worker_id)
        if pod is None:
            return None
        self._forgotten.add(pod.uid)
        return None if pod.leaving else pod

    def remember(self, pod: SeenPod) -> None:
        """Show a pod again whose deletion failed."""
        self._forgotten.discard(pod.uid)

    def workers(self, now: float, *, patience: float) -> list[FleetWorker]:
        """Return the workers, at an instant of a monotonic clock.

        One has failed that waits for more than `patience` seconds for what an operator must mend: its image.
        """
        shown = [pod for uid, pod in self._pods.items() if uid not in self._forgotten]
        stuck = {pod.uid for pod in shown if pod.stuck}
        self._stuck_since = {uid: self._stuck_since.get(uid, now) for uid in stuck}
        workers = [
            self._worker(pod, failed=pod.hopeless or now - self._stuck_since.get(pod.uid, now) > patience)
            for pod in shown
        ]
        workers += [self._worker(pod, failed=False) for pod in self._gone.values()]
        return sorted(workers, key=lambda worker: worker.worker_id)

    def _worker(self, pod: SeenPod, *, failed: bool) -> FleetWorker:
        ended = pod.ended or failed
        taken = pod.evicted or (pod.ended and pod.leaving)
        return FleetWorker(
            worker_id=pod.worker_id,
            app_id=pod.app_id,
            state="exited" if ended else "running",
            requested_at=pod.requested_at,
            exit_code=pod.exit_code,
            standby=pod.standby,
            node=pod.node,
            pending="" if ended else pod.waits,
            evicted=taken and pod.uid not in self._told,
        )
