"""A Deployment of real workers, and the rules of a ReplicaSet and of the HPA that KEDA makes.

Pods are processes of `upswell worker`. The rules are those of Kubernetes' documentation: the HPA wants
ceil(metric / target) for a metric of type AverageValue, and changes nothing within its tolerance; a
ReplicaSet removes pods that are not ready first, then the youngest; a pod that is removed gets SIGTERM. Of
KEDA: an error changes nothing, activity takes it from 0 to 1, and inactivity to 0.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import grpc

if TYPE_CHECKING:
    from support.keda_client import KedaClient
    from support.system import System

PROBE_SECONDS = 0.2
"""Between two readiness probes; a real kubelet's period is a second at least."""

SYNC_SECONDS = 0.5
"""Between two syncs of the HPA; a real one's are 15 s."""


class Pod:
    """A worker's process, and whether Kubernetes shows it as ready."""

    def __init__(self, system: System, name: str) -> None:
        self.name = name
        self.started_at = time.monotonic()
        self.is_ready = False
        self.log = system.folder / f"{name}.log"
        self._heartbeat = system.folder / f"{name}.heartbeat"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "upswell", "worker", "--app", system.app_id],
                env={
                    **system.environment,
                    "UPSWELL_WORKER_ID": name,
                    "UPSWELL_HEARTBEAT": str(self._heartbeat),
                },
                cwd=system.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def probe(self) -> None:
        """Run the readiness probe of deploy/kubernetes/keda."""
        self.is_ready = self._heartbeat.with_name(f"{self._heartbeat.name}.ready").exists()


class StandInCluster:
    """Follows a client's answers until its context ends; `kills` are the pods removed, in order."""

    def __init__(self, system: System, client: KedaClient, *, most: int, tolerance: float = 0.0) -> None:
        self.pods: list[Pod] = []
        self.kills: list[Pod] = []
        self.errors = 0
        self._system = system
        self._client = client
        self._most = most
        self._tolerance = tolerance
        self._made = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._target = self._client.target()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following and end every pod."""
        self._ends.set()
        self._thread.join(60)
        for pod in [*self.pods, *self.kills]:
            if pod.process.poll() is None:
                os.killpg(pod.process.pid, signal.SIGKILL)
            pod.process.wait(60)

    @property
    def ready(self) -> int:
        """How many pods are ready."""
        self.check()
        return sum(pod.is_ready for pod in self.pods)

    def check(self) -> None:
        """Raise what the cluster's own loop met."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            synced_at = 0.0
            while not self._ends.wait(PROBE_SECONDS):
                self._probe()
                if time.monotonic() - synced_at >= SYNC_SECONDS:
                    synced_at = time.monotonic()
                    self._sync()
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self._failure = error

    def _probe(self) -> None:
        for pod in list(self.pods):
            pod.probe()

    def _sync(self) -> None:
        """Do what KEDA and its HPA do: from 0 by activity, else to the metric over its target."""
        try:
            metric, active = self._client.metric(), self._client.active()
        except grpc.RpcError:
            self.errors += 1
            return
        self._probe()  # the number may be lower because some are not ready, and then those are to go
        present = len(self.pods)
        if not active:
            self._scale(0)
        elif present == 0:
            self._scale(1)
        elif abs(metric / (self._target * present) - 1.0) > self._tolerance:
            self._scale(min(self._most, max(1, math.ceil(metric / self._target))))

    def _scale(self, replicas: int) -> None:
        for _ in range(replicas - len(self.pods)):
            self._made += 1
            self.pods.append(Pod(self._system, f"{self._system.app_id}-pod-{self._made}"))
        doomed = sorted(self.pods, key=lambda pod: (pod.is_ready, -pod.started_at))
        for pod in doomed[: len(self.pods) - replicas]:
            self.remove(pod)

    def remove(self, pod: Pod) -> None:
        """Delete a pod, as a ReplicaSet or an eviction does."""
        self.pods.remove(pod)
        self.kills.append(pod)
        pod.process.send_signal(signal.SIGTERM)
