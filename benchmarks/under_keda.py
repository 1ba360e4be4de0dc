"""Upswell under a real KEDA: do the pods follow the number that was decided, and what becomes of busy ones?

    .venv/bin/python benchmarks/under_keda.py KEDA [--uploads 1000]

KEDA is a folder with `keda-operator`, `keda-adapter` and `crd/` of one release, whose programs run beside the
cluster. That is one as the tests start it; it must have autoscaling/v2, so Kubernetes 1.23 or later, which
`UPSWELL_TEST_KUBERNETES` names a folder of. What docs/deploy/keda.md applies is applied, but for the network
and two folders, which are this machine's. Uploads flow all the time. First the number is set by hand, up and
down; then monitor, `upswell keda` and KEDA itself go away and come back; then `slo` decides over a burst.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from side_by_side import print_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import certificates, kubernetes_cluster  # pyright: ignore[reportMissingImports] - the line above
from support.rabbitmq_node import RabbitNode  # pyright: ignore[reportMissingImports]
from support.server_process import free_port  # pyright: ignore[reportMissingImports]
from support.system import System, wait_until  # pyright: ignore[reportMissingImports]

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
APP = "e123456"
NUMBERS = (2, 5, 9, 6, 3, 8, 1, 4, 1)
MOST = 9
"""Up to here the older ScaledObject is exact: see its file."""
SIZE = 100_000
RATE = 100_000
"""Bytes per second of a worker: an upload takes a second."""
SECONDS = 300.0
"""For one step, at most: the autoscaler looks every 15 s."""
WATCH_SECONDS = 60.0
"""How long nothing may change while a part is away."""
NAMESPACE = "upswell"
REPORT_QUEUE = "report"
PARTS = ("upswell-monitor", "upswell-keda", "upswell-workers")


class Keda:
    """KEDA's operator and its metrics server, as processes that a cluster knows as a service."""

    def __init__(self, programs: Path, cluster: kubernetes_cluster.KubernetesCluster, folder: Path) -> None:
        self._programs = programs
        self._cluster = cluster
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        made = certificates.make(folder / "signed")
        self._certificates = folder / "certificates"
        self._certificates.mkdir()
        for name, path in (
            ("ca.crt", made.authority),
            ("tls.crt", made.server),
            ("tls.key", made.server_key),
        ):
            shutil.copy(path, self._certificates / name)
        self._ports = [free_port() for _ in range(4)]

    def install(self) -> None:
        """Have the cluster know KEDA's objects, and where its metrics are."""
        self._cluster.kubectl("apply", "--server-side", "-f", str(self._programs / "crd"))
        metrics_port = self._ports[0]
        service = {"name": "keda-metrics-apiserver", "namespace": "keda"}
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": service,
                "spec": {"ports": [{"port": 443, "targetPort": metrics_port}]},
            },
            {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": service,
                "subsets": [
                    {"addresses": [{"ip": node_address(self._cluster)}], "ports": [{"port": metrics_port}]}
                ],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
                "spec": {
                    "service": service,
                    "group": "external.metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                },
            },
        ]
        self._cluster.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))

    def start(self) -> None:
        """Start both, and wait until the cluster's API server has metrics from them."""
        metrics_port, service_port, health_port, other_port = self._ports
        self._run(
            "keda-operator",
            f"--metrics-bind-address=127.0.0.1:{other_port}",
            f"--health-probe-bind-address=127.0.0.1:{health_port}",
            f"--metrics-service-bind-address=127.0.0.1:{service_port}",
            f"--cert-dir={self._certificates}",
        )
        self._run(
            "keda-adapter",
            f"--secure-port={metrics_port}",
            "--port=0",
            f"--metrics-service-address=127.0.0.1:{service_port}",
            f"--cert-dir={self._certificates}",
            f"--tls-cert-file={self._certificates / 'tls.crt'}",
            f"--tls-private-key-file={self._certificates / 'tls.key'}",
            f"--lister-kubeconfig={self._cluster.kubeconfig}",
            f"--authentication-kubeconfig={self._cluster.kubeconfig}",
            f"--authorization-kubeconfig={self._cluster.kubeconfig}",
        )
        asked = ("get", "--raw", "/apis/external.metrics.k8s.io/v1beta1")
        wait_until(lambda: "resources" in self._cluster.kubectl(*asked, check=False), SECONDS, self.logs)

    def kill(self) -> None:
        """Kill both."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def logs(self) -> str:
        """Return the ends of their logs."""
        return "\n".join(path.read_text()[-3000:] for path in self._folder.glob("keda-*.log"))

    def _run(self, name: str, *arguments: str) -> None:
        environment = {**os.environ, "KUBECONFIG": self._cluster.kubeconfig, "WATCH_NAMESPACE": ""}
        environment |= {"POD_NAMESPACE": "keda", "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda"}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._programs / name, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)


class Pods:
    """The workers, looked at from outside twice a second, and what each of them said."""

    def __init__(self, cluster: kubernetes_cluster.KubernetesCluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._followers: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: list[tuple[float, int]] = []  # when, and replicas wanted of the Deployment
        self.gone: set[str] = set()
        self._present: set[str] = set()

    def wanted(self) -> int:
        """Return the replicas that the autoscaler asks for now."""
        return self.seen[-1][1] if self.seen else 0

    def settled(self, number: int) -> bool:
        """Return whether exactly so many are there and ready."""
        found = self._cluster.get("-n", NAMESPACE, "deployment", "upswell-workers")
        status, spec = found["status"], found["spec"]
        counts = (spec["replicas"], status.get("replicas", 0), status.get("readyReplicas", 0))
        return counts == (number, number, number) and len(self._present) == number

    def left_busy(self) -> list[str]:
        """Return those that were taken away while they held an upload; one that never ran held none."""
        ran = sorted(self.gone & self._followers.keys())
        return [name for name in ran if not self._said(name, r"state=draining busy=0")]

    def released(self) -> list[str]:
        """Return those that gave an upload back, for another one to do it once more."""
        return [name for name in sorted(self._followers) if self._said(name, r"worker\.uploads_released")]

    def _said(self, name: str, pattern: str) -> bool:
        return re.search(pattern, (self._folder / f"{name}.log").read_text("utf-8", "replace")) is not None

    def _watch(self) -> None:
        while not self._ending.wait(0.5):
            try:
                pods = self._cluster.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=worker")[
                    "items"
                ]
                found = self._cluster.get("-n", NAMESPACE, "deployment", "upswell-workers")
            except RuntimeError:
                continue
            names = {pod["metadata"]["name"] for pod in pods}
            self.gone |= {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]}
            self.gone |= self._present - names
            self._present = names
            self.seen.append((time.monotonic(), found["spec"].get("replicas", 1)))
            for pod in pods:
                started = any("startedAt" in c.get("state", {}).get("running", {})
                              for c in pod["status"].get("containerStatuses", []))  # fmt: skip
                if started and pod["metadata"]["name"] not in self._followers:
                    self._follow(pod["metadata"]["name"])

    def _follow(self, name: str) -> None:
        command = ["kubectl", "--kubeconfig", self._cluster.kubeconfig, "-n", NAMESPACE, "logs", "-f", name]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._followers[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        for follower in self._followers.values():
            follower.terminate()
            follower.wait()


def node_address(cluster: kubernetes_cluster.KubernetesCluster) -> str:
    """Return the node's address, which is this machine's."""
    addresses = cluster.get("nodes")["items"][0]["status"]["addresses"]
    return next(each["address"] for each in addresses if each["type"] == "InternalIP")


def own_copy(folder: Path, system: System, image: str, address: str) -> None:
    """Copy deploy/kubernetes/keda, for pods on this machine's network, with two of its folders."""
    copy = folder / "deploy/kubernetes/keda"
    shutil.copytree(ROOT / "deploy/kubernetes/keda", copy)
    kustomization = yaml.safe_load((copy / "kustomization.yaml").read_text())
    name, _, tag = image.rpartition(":")
    kustomization["images"] = [{"name": "upswell", "newName": name, "newTag": tag}]
    kustomization["configMapGenerator"][0]["literals"] = [
        f"UPSWELL_APPS={APP}",
        "UPSWELL_SLO=95% < 30s",
        "UPSWELL_MIN_WORKERS=1",
        f"UPSWELL_MAX_WORKERS={MOST}",
        f"UPSWELL_DESTINATION={system.store}",
        f"UPSWELL_SOURCE_ROOTS={system.sources}",
        f"UPSWELL_REPORT_QUEUE={REPORT_QUEUE}",
        # As in the Dockerfile's image; the tests' own image is only files.
        "UPSWELL_STATE_DIR=/var/lib/upswell",
        "UPSWELL_HEARTBEAT=/dev/shm/upswell-heartbeat",
        "UPSWELL_SLOTS=1",
        f"UPSWELL_UPLOAD_RATE_LIMIT={RATE}",
    ]
    shared = [{"name": path.name, "hostPath": {"path": str(path)}} for path in (system.store, system.sources)]
    mounts = [{"name": path.name, "mountPath": str(path)} for path in (system.store, system.sources)]
    kustomization["patches"] = []
    for part in PARTS:
        container: dict[str, Any] = {"name": part.removeprefix("upswell-").removesuffix("s")}
        if part == "upswell-workers":
            container["volumeMounts"] = mounts
        if part == "upswell-keda":
            container["env"] = [{"name": "UPSWELL_KEDA_LISTEN", "value": address}]
            port = int(address.rpartition(":")[2])
            container["readinessProbe"] = {"tcpSocket": {"port": port}}
            container["livenessProbe"] = {"grpc": {"port": port}}
            container["ports"] = [{"$patch": "replace"}]
        spec = {
            "hostNetwork": True,
            "securityContext": {"runAsNonRoot": False, "runAsUser": 0, "fsGroup": None},
            "containers": [container],
            **({"volumes": shared} if part == "upswell-workers" else {}),
        }
        patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": part}}
        kustomization["patches"].append(
            {"patch": yaml.safe_dump({**patch, "spec": {"template": {"spec": spec}}})}
        )
    (copy / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    namespace = copy / "namespace.yaml"  # that lets pods have this machine's network
    namespace.write_text(namespace.read_text().replace("restricted", "privileged"))
    older = yaml.safe_load((copy / "scaledobject-older.yaml").read_text())
    older["spec"]["maxReplicaCount"] = MOST
    older["spec"]["triggers"][0]["metadata"]["scalerAddress"] = address
    (copy / "scaledobject-older.yaml").write_text(yaml.safe_dump(older))


def as_the_page_says(cluster: kubernetes_cluster.KubernetesCluster, folder: Path, url: str) -> None:
    """Run the commands of docs/deploy/keda.md, but for the image's build, from the copy."""
    page = (ROOT / "docs/deploy/keda.md").read_text().split("## Put it there")[1].split("\n## ")[0]
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        if "docker build" in block or "scaledobject.yaml" in block or "get scaledobject" in block:
            lines = [line for line in block.splitlines() if "rollout status" in line or "apply -k" in line]
        else:
            lines = block.splitlines()
        for line in lines:
            print(f"  $ {line}", flush=True)
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=folder,
                env={**os.environ, "KUBECONFIG": cluster.kubeconfig, "AMQPURL": url},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"{line}: {done.stdout}{done.stderr}")


@contextmanager
def uploads_flow(system: System, requests: list[str], pause: float) -> Iterator[None]:
    """Publish some requests in the background until the block ends; the rest stay in the list."""
    ending = threading.Event()

    def publish() -> None:
        path = system.folder / "some.jsonl"
        while requests and not ending.is_set():
            some = [requests.pop() for _ in range(min(len(requests), 4))]
            path.write_text("".join(some))
            system.publish(path)
            ending.wait(pause)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def follow_by_hand(system: System, pods: Pods) -> list[list[str]]:
    """Set the number by hand; return a row for each: how long it took, and what else was asked for."""
    rows, before = [], pods.wanted()
    for number in NUMBERS:
        begun = time.monotonic()
        system.run("scale", APP, str(number), "--for", "1h")
        wait_until(lambda number=number: pods.settled(number), SECONDS, system.logs)
        took = time.monotonic() - begun
        asked = {count for at, count in pods.seen if at >= begun}
        others = sorted(asked - {before, number})
        rows.append([f"{before} -> {number}", f"{took:.1f} s", ", ".join(map(str, others)) or "none"])
        print(f"  {rows[-1]}", flush=True)
        before = number
    return rows


def nothing_changes(what: str, pods: Pods, system: System) -> str:
    """Return the row that says whether the number stayed for a while."""
    begun, before, stored = time.monotonic(), pods.wanted(), system.stored_count()
    time.sleep(WATCH_SECONDS)
    asked = sorted({count for at, count in pods.seen if at >= begun})
    uploads = system.stored_count() - stored
    return (
        f"{what} away for {WATCH_SECONDS:.0f} s: {before} wanted, then {asked}; {uploads} uploads meanwhile"
    )


def main() -> int:
    """Run all of it and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("keda", type=Path, help="folder with keda-operator, keda-adapter and crd/")
    parser.add_argument("--uploads", type=int, default=1000)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing of it is left behind
    if reason := kubernetes_cluster.absent() or kubernetes_cluster.missing():
        print(reason, file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="upswell-keda.", dir="/var/tmp"))
        )
        (folder / "rabbitmq").mkdir()
        node = stack.enter_context(RabbitNode(folder / "rabbitmq"))
        cluster = stack.enter_context(kubernetes_cluster.KubernetesCluster())
        version = json.loads(cluster.kubectl("version", "--output", "json"))["serverVersion"]["gitVersion"]
        print(f"Kubernetes {version}", flush=True)
        image = cluster.worker_image()
        (folder / "keda").mkdir()
        keda = Keda(given.keda.resolve(), cluster, folder / "keda")
        stack.callback(keda.kill)
        keda.install()
        keda.start()
        system = stack.enter_context(
            System(folder, broker_url=node.url, app_id=APP, report_queue=REPORT_QUEUE, slots=1)
        )
        system.store.mkdir()
        requests = system.make_requests(given.uploads, size=SIZE).read_text().splitlines(keepends=True)
        random.Random(1).shuffle(requests)
        own_copy(folder, system, image, f"{node_address(cluster)}:{free_port()}")
        as_the_page_says(cluster, folder, node.url)
        (folder / "pods").mkdir()
        pods = stack.enter_context(Pods(cluster, folder / "pods"))
        run(system, pods, keda, cluster, requests)
    return 0


def run(
    system: System,
    pods: Pods,
    keda: Keda,
    cluster: kubernetes_cluster.KubernetesCluster,
    requests: list[str],
) -> None:
    """Do the three parts, and print the figures."""
    half = len(requests) // 2
    slow, burst = requests[:half], requests[half:]
    by_hand = ("scale", APP, "1", "--for", "1h")
    wait_until(lambda: system.run(*by_hand, check=False).returncode == 0, SECONDS, system.logs)
    wait_until(lambda: pods.settled(1), SECONDS, system.logs)
    with uploads_flow(system, slow, 3.0):
        rows = follow_by_hand(system, pods)
        lines = []
        system.run("scale", APP, "4", "--for", "1h")
        wait_until(lambda: pods.settled(4), SECONDS, system.logs)
        for part in ("upswell-monitor", "upswell-keda"):
            cluster.kubectl("-n", NAMESPACE, "scale", "deployment", part, "--replicas=0")
            lines.append(nothing_changes(part, pods, system))
            cluster.kubectl("-n", NAMESPACE, "scale", "deployment", part, "--replicas=1")
            cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{part}", "--timeout=180s")
        keda.kill()
        lines.append(nothing_changes("KEDA", pods, system))
        keda.start()
    system.run("resume", APP)
    begun = time.monotonic()
    path = system.folder / "burst.jsonl"
    path.write_text("".join([*slow, *burst]))
    system.publish(path)
    wait_until(lambda: system.stored() == set(system.checksums), SECONDS * 2, system.logs)
    took, most = time.monotonic() - begun, max(count for at, count in pods.seen if at >= begun)
    lines.append(
        f"{len(slow) + len(burst)} at once under slo: stored after {took:.0f} s, {most} workers at most"
    )
    wait_until(lambda: pods.settled(1), SECONDS, system.logs)
    lines.append(f"and back at 1 after {time.monotonic() - begun:.0f} s")
    print()
    print_table(["set by hand", "all ready after", "other numbers meanwhile"], rows)
    print()
    print("\n".join(lines))
    print(f"{len(system.stored())} of {len(system.checksums)} stored, {len(system.dead())} dead letters")
    busy, released = pods.left_busy(), pods.released()
    print(f"{len(pods.gone)} pods taken away, {len(busy)} of them busy, {len(released)} gave an upload back")
    print(*busy)


if __name__ == "__main__":
    sys.exit(main())
