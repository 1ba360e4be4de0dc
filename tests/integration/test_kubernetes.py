"""Uploads through pods of a real Kubernetes, over RabbitMQ, while everything around the pods breaks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from conftest import skip_or_fail
from support.kubernetes_cluster import TOLD_OR_NOT, helm
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.kubernetes_cluster import KubernetesCluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
APP = "pods"
UPLOADS = int(os.environ.get("UPSWELL_FAULT_UPLOADS", "300"))
"""Uploads while everything breaks: a fifth of them before each fault."""
SIZE = 20_000
SECONDS = 240.0
"""How long one step may take on a busy machine; it takes some seconds."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder at the same path on the node."""
    with tempfile.TemporaryDirectory(prefix="upswell-pods.", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture
def system(folder: Path, kubernetes: KubernetesCluster, namespace: str, rabbitmq: str) -> Iterator[System]:
    """One application, its workers pods that share this machine's network and two of its folders."""
    if not kubernetes.private:
        pytest.skip("its pods upload into folders of this machine")
    (folder / "store").mkdir()
    shared = {name: str(folder / name) for name in ("store", "sources")}
    (folder / "template.yaml").write_text(json.dumps(pod_template(shared)))
    with System(
        folder, broker_url=rabbitmq, app_id=f"{APP}-{os.getpid()}",
        fleet="kubernetes", fleets_kubernetes_image=kubernetes.worker_image(),
        fleets_kubernetes_namespace=namespace, fleets_kubernetes_pod_template=str(folder / "template.yaml"),
        slots=1, max_workers=4, upload_rate_limit=2 * SIZE, start_timeout=120, log_format="json",
    ) as made:  # fmt: skip
        made.environment["KUBECONFIG"] = kubernetes.kubeconfig
        yield made


def pod_template(shared: dict[str, str]) -> dict[str, Any]:
    """Return a template for pods on this machine's network, with folders of this machine."""
    return {
        "spec": {
            "hostNetwork": True,
            # Root, who owns the folders.
            "securityContext": {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0},
            "containers": [
                {
                    "name": "worker",
                    "volumeMounts": [{"name": name, "mountPath": path} for name, path in shared.items()],
                }
            ],
            "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in shared.items()],
        }
    }


class Pods:
    """The workers' pods, looked at from outside."""

    def __init__(self, kubernetes: KubernetesCluster, namespace: str, system: System) -> None:
        self.kubernetes = kubernetes
        self._namespace = namespace
        self._system = system

    def all(self) -> list[dict[str, Any]]:
        """Return every pod of the namespace."""
        return self.kubernetes.get("--namespace", self._namespace, "pods")["items"]

    def running(self) -> set[str]:
        """Return the names of those that run and were not told to end."""
        return {
            pod["metadata"]["name"]
            for pod in self.all()
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        }

    def until(self, count: int) -> set[str]:
        """Return those that run, once they are so many and no others are there."""

        def settled() -> bool:
            return len(self.all()) == len(self.running()) == count

        wait_until(
            settled, SECONDS, lambda: f"{[p['metadata']['name'] for p in self.all()]}{self._system.logs()}"
        )
        return self.running()


def events(system: System, name: str) -> list[dict[str, Any]]:
    """Return the scaler's events of a name."""
    return system.events("scaler", name)


def ends(system: System) -> list[dict[str, Any]]:
    """Return the scaler's events of workers that ended and did not crash."""
    return events(system, "scaler.worker_left") + events(system, "scaler.worker_evicted")


@contextmanager
def flowing(system: System) -> Iterator[None]:
    """Uploads go on while something happens, and after it."""
    before = system.stored_count()
    yield
    wait_until(lambda: system.stored_count() > before + 3, SECONDS, system.logs)


def worker_process(worker_id: str) -> int:
    """Return the process on this machine that a pod's worker is."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"UPSWELL_WORKER_ID={worker_id}".encode() in environment.split(b"\0"):
            return int(entry.name)
    raise AssertionError(f"no process of {worker_id}")


def test_nothing_is_lost_and_nothing_is_left_while_everything_around_the_pods_breaks(  # noqa: PLR0915 - a story
    system: System, kubernetes: KubernetesCluster, namespace: str
) -> None:
    pods = Pods(kubernetes, namespace, system)
    parts = system.split(system.make_requests(UPLOADS, size=SIZE), 5)
    system.run("config", "check")
    system.start("monitor")
    scaler = system.start("scaler")
    wait_until(lambda: "scaler.started" in system.said(), SECONDS, system.logs)
    system.set_by_hand(1, SECONDS)
    with flowing(system):
        system.publish(next(parts))
        pods.until(1)

    # The scaler is killed in the middle of a scale-out; the next one adopts what was started.
    system.run("scale", system.app_id, "3", "--for", "1h")
    wait_until(lambda: len(pods.all()) > 1, SECONDS, system.logs)
    scaler.send_signal(signal.SIGKILL)
    scaler.wait()
    scaler = system.start("scaler")
    three = pods.until(3)

    # The API server is away for a while; uploads go on, and so does the scaler afterwards.
    again = kubernetes.stop_api()
    with flowing(system):
        system.publish(next(parts))
    wait_until(lambda: bool(events(system, "scaler.fleet_unreachable")), SECONDS, system.logs)
    kubernetes.start_api(again)
    wait_until(lambda: bool(events(system, "scaler.fleet_reachable")), SECONDS, system.logs)
    assert pods.until(3) == three

    # A worker is killed: that is a crash, and it is replaced.
    system.publish(next(parts))
    victim = min(three)
    os.kill(worker_process(victim), signal.SIGKILL)
    wait_until(lambda: bool(events(system, "scaler.worker_crashed")), SECONDS, system.logs)
    (crash,) = events(system, "scaler.worker_crashed")
    assert (crash["worker_id"], crash["exit_code"]) == (victim, 137)

    def kept() -> str:
        return system.run("logs", "--worker", victim, check=False).stdout

    # Its pod goes; its last lines stay in the journal.
    wait_until(lambda: "crashed" in kept(), SECONDS, lambda: f"{kept()}{system.logs()}")
    assert "exit code 137:" in kept()
    # The last five: of a worker that the machine held up they may tell that alone.
    assert re.search(r"worker\.(started|loop_blocked)", kept())

    # A worker is evicted: it finishes what it has in hand, is replaced, and did not crash.
    system.publish(next(parts))
    victim = min(three & pods.until(3))
    # What the killed scaler had asked for may have come late, as one too many: that one has left.
    before = {end["worker_id"] for end in ends(system)}

    def new_ends() -> list[dict[str, Any]]:
        return [end for end in ends(system) if end["worker_id"] not in before]

    kubernetes.evict(namespace, victim)
    wait_until(lambda: bool(new_ends()), SECONDS, system.logs)
    (end,) = new_ends()
    assert end["worker_id"] == victim
    assert end["exit_code"] in TOLD_OR_NOT
    three = pods.until(3)

    # The node is drained: no other takes pods, so they wait until it is back.
    system.publish(next(parts))
    node = pods.all()[0]["spec"]["nodeName"]
    own = f"--pod-selector=upswell/application={system.app_id}"
    kubernetes.kubectl("drain", "--delete-emptydir-data", "--timeout=240s", node, own)
    wait_until(lambda: bool(events(system, "scaler.worker_pending")), SECONDS, system.logs)
    assert "Unschedulable" in events(system, "scaler.worker_pending")[0]["reason"]
    kubernetes.kubectl("uncordon", node)
    assert not pods.until(3) & three

    wait_until(lambda: system.stored_count() == UPLOADS, UPLOADS + SECONDS, system.logs)
    assert system.stored() == set(system.checksums)
    assert system.dead() == {}
    assert len(events(system, "scaler.worker_crashed")) == 1

    # And back to one, and to none: by message, each with exit code 0.
    system.run("scale", system.app_id, "1", "--for", "1h")
    pods.until(1)
    system.run("down", timeout=SECONDS)
    pods.until(0)
    left = events(system, "scaler.worker_left")
    assert {event["exit_code"] for event in left} <= TOLD_OR_NOT
    names = kubernetes.kubectl(
        "--namespace", namespace, "get", "secrets,configmaps", "--output", "name"
    ).split()
    ours = {name for name in names if re.search("upswell", name)}
    assert ours == {f"secret/upswell-{system.app_id}", f"configmap/upswell-{system.app_id}"}


def test_a_quota_limits_what_is_decided_until_it_has_room_again(
    system: System, kubernetes: KubernetesCluster, namespace: str
) -> None:
    kubernetes.kubectl("--namespace", namespace, "create", "quota", "q", "--hard=pods=2")
    quota = ("--namespace", namespace, "quota", "q")
    wait_until(lambda: "hard" in kubernetes.get(*quota)["status"], SECONDS, system.logs)
    pods = Pods(kubernetes, namespace, system)
    system.start("monitor")
    system.start("scaler")
    wait_until(lambda: "scaler.started" in system.said(), SECONDS, system.logs)
    system.set_by_hand(4, SECONDS)
    pods.until(2)

    def decision() -> tuple[int, list[str], list[str]]:
        (app,) = json.loads(system.run("status", "--json", check=False).stdout)["apps"]
        return app["desired_workers"], app["alarms"], app["problems"]

    seen = decision()

    def is_limited() -> bool:
        nonlocal seen
        seen = decision()
        return seen[1] == ["fleet_full"] and "limited to 2" in "".join(seen[2][:1])

    wait_until(is_limited, SECONDS, lambda: f"{seen}{system.logs()}")
    desired, _, problems = seen
    assert desired == 2
    reason = problems[0]
    assert "limited to 2: the platform refuses more (the namespace's quota is used up: " in reason
    assert "limited: pods=2" in reason

    # Uploads go on with the two, and the others come as soon as there is room.
    requests = system.make_requests(20, size=SIZE)
    system.publish(requests)
    kubernetes.kubectl("--namespace", namespace, "delete", "quota", "q")
    pods.until(4)
    wait_until(lambda: decision()[:2] == (4, []), SECONDS, lambda: f"{decision()}{system.logs()}")
    wait_until(lambda: system.stored_count() == 20, SECONDS, system.logs)
    assert not events(system, "scaler.crash_loop")
    system.run("down", timeout=SECONDS)
    pods.until(0)


def blocks(section: str) -> list[str]:
    """Return the blocks of shell lines in a section of the page."""
    page = (ROOT / "docs/deploy/kubernetes.md").read_text()
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [part.split("```")[0] for part in text.split("```sh\n")[1:]]


def shell(script: str, folder: Path, kubernetes: KubernetesCluster, **variables: str) -> str:
    """Run lines of the page as an operator would; return what they print."""
    done = ran(script, folder, kubernetes, **variables)
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def ran(
    script: str, folder: Path, kubernetes: KubernetesCluster, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run lines to their end, or to the first that fails."""
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "KUBECONFIG": kubernetes.kubeconfig, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def set_up(copy: Path, data: Path, image: str) -> None:
    """Change a copy of deploy/kubernetes: image and application, as its page says, and a shared folder."""
    mount = {"name": "data", "mountPath": str(data)}
    spec = {
        "hostNetwork": True,
        "containers": [{"name": "worker", "volumeMounts": [mount]}],
        "volumes": [{"name": "data", "hostPath": {"path": str(data)}}],
    }
    (copy / "pod-template.yaml").write_text(json.dumps({"spec": spec}))
    settings = (copy / "upswell.toml").read_text()
    settings = settings.replace("registry.example/upswell:0.2", image)
    settings = settings.replace('"s3://uploads/e123456"', f'"{data}/store"')
    (copy / "upswell.toml").write_text(f'source_roots = ["{data}/sources"]\n{settings}')
    name, _, tag = image.rpartition(":")
    kustomization = yaml.safe_load((copy / "kustomization.yaml").read_text())
    kustomization["images"] = [{"name": "upswell", "newName": name, "newTag": tag}]
    kustomization["patches"] = [
        {
            "target": {"kind": "StatefulSet", "name": f"upswell-{part}"},
            "patch": json.dumps(
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "metadata": {"name": "any"},
                    "spec": {
                        "template": {
                            "spec": {**spec, "containers": [{"name": part, "volumeMounts": [mount]}]}
                        }
                    },
                }
            ),
        }
        for part in ("monitor", "scaler")
    ]
    (copy / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


def test_the_page_installs_looks_at_it_and_uninstalls(
    kubernetes: KubernetesCluster, folder: Path, rabbitmq: str
) -> None:
    if not kubernetes.private:
        pytest.skip("its pods upload into folders of this machine")
    folder.chmod(0o755)
    data = folder / "data"
    for path in (data, data / "sources", data / "store"):
        path.mkdir()
        path.chmod(0o777)
    (data / "sources/photo.jpg").write_bytes(b"a photo")
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    copied, installed = blocks("Install")
    shell(copied, folder, kubernetes)
    set_up(folder / "my-upswell", data, kubernetes.worker_image())
    shell(installed, folder, kubernetes, AMQPURL=rabbitmq)
    (looked,) = blocks("Look at it")
    publish = ("exec", "upswell-scaler-0", "--", "upswell", "publish", "--app", "e123456", "--wait")
    try:
        kubernetes.kubectl(
            "-n", "uploads", *publish, "--set", f"source_roots={data}/sources", f"{data}/sources/photo.jpg"
        )
        assert (data / "store/photo.jpg").read_bytes() == b"a photo"
        seen = ""

        def is_well() -> bool:
            nonlocal seen
            done = ran(looked, folder, kubernetes)
            seen = done.stdout + done.stderr
            return done.returncode == 0

        # `doctor` listens for 3 s: a pod that the machine holds up is not heard.
        wait_until(is_well, SECONDS, lambda: seen)
    finally:
        described = kubernetes.kubectl("-n", "uploads", "logs", "upswell-scaler-0", check=False)
        shell(blocks("Upgrade, settings, uninstall")[0], folder, kubernetes)
    assert "kubernetes answers" in seen, described
    assert "e123456-" in seen
    assert "Running" in seen
    wait_until(
        lambda: "No resources" in kubernetes.kubectl("-n", "uploads", "get", "pods", check=False),
        SECONDS,
        lambda: kubernetes.kubectl("-n", "uploads", "get", "pods", "-o", "wide", check=False),
    )

    def left() -> str:
        return kubernetes.kubectl("-n", "uploads", "get", "secrets,configmaps", "--output", "name")

    # The Secret goes with the ConfigMap that owns it, in its own time.
    wait_until(lambda: "upswell-e123456" not in left(), SECONDS, left)
    kubernetes.kubectl("delete", "namespace", "uploads", "--wait=false")


def test_the_chart_installs_uploads_and_uninstalls(
    kubernetes: KubernetesCluster, namespace: str, folder: Path, rabbitmq: str
) -> None:
    program = helm()
    if program is None:
        skip_or_fail("Helm is not installed (scripts/install_servers)")
    if not kubernetes.private:
        pytest.skip("its pods upload into folders of this machine")
    with System(folder, broker_url=rabbitmq, app_id=f"charted-{os.getpid()}") as outside:
        outside.store.mkdir()
        (folder / "values.yaml").write_text(json.dumps(chart_values(outside, kubernetes.worker_image())))
        secret = ("secret", "generic", "upswell-credentials", f"--from-literal=AMQPURL={rabbitmq}")
        kubernetes.kubectl("-n", namespace, "create", *secret)
        ours = f"upswell -n {namespace}"
        chart = f"{ROOT / 'deploy/helm/upswell'} -f values.yaml"
        shell(f"{program} install {ours} {chart} --wait --timeout {SECONDS:.0f}s", folder, kubernetes)
        outside.publish(outside.make_requests(20, size=SIZE))
        pods = Pods(kubernetes, namespace, outside)
        wait_until(lambda: len(outside.stored()) == 20, SECONDS, lambda: str(pods.all()))
        # Monitor and scaler go with the release, the workers with their settings, as the page says.
        shell(f"{program} uninstall {ours}", folder, kubernetes)
        kubernetes.kubectl("-n", namespace, "delete", "configmap", "-l", "upswell/installation=upswell")
        wait_until(lambda: not pods.all(), SECONDS, lambda: str(pods.all()))


def chart_values(outside: System, image: str) -> dict[str, Any]:
    """Return the chart's values for workers that share this machine's network and two of its folders."""
    shared = {"store": str(outside.store), "sources": str(outside.sources)}
    name, _, tag = image.rpartition(":")
    return {
        "image": {"repository": name, "tag": tag},
        "hostNetwork": True,
        "settings": {"source_roots": [shared["sources"]], "report_queue": f"{outside.app_id}_report"},
        "apps": {outside.app_id: {"destination": shared["store"], "max_workers": 2}},
        "podTemplate": pod_template(shared),
    }
