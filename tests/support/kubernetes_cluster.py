"""A Kubernetes cluster for tests: the one that `UPSWELL_TEST_KUBECONFIG` names, or a private one.

What comes in: the programs in `../shared/kubernetes` (its README says what they are), Debian's packages. What
goes out: a kubeconfig, namespaces, and an image with Upswell in it, made here. The private one is a single
node; its processes, cgroups and bridge go with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.docker_engine import CACHE, DockerEngine, base_archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
CHOSEN = os.environ.get("UPSWELL_TEST_KUBERNETES", "")
"""A folder with a cluster's programs, of a newer release say."""
PLACES = (Path(CHOSEN),) if CHOSEN else (ROOT.parent / "shared/kubernetes", Path("/work/shared/kubernetes"))
EXTERNAL = os.environ.get("UPSWELL_TEST_KUBECONFIG", "")
IMAGE = os.environ.get("UPSWELL_TEST_IMAGE", "localhost/upswell:test")
"""With a cluster of one's own: an image built from the Dockerfile, which it can pull."""

NEEDED = (
    *("etcd", "containerd", "runc", "ctr", "kubectl", "openssl"),
    *("zstd", "ip", "nsenter", "unshare", "socat"),
)
EXTRAS = ("kubernetes", "keda")

TOLD_OR_NOT = frozenset({0, None})
"""Exit codes of workers whose pods are deleted while they end well. None: a kubelet that is held up for a few
seconds removes the container before it has told how it ended, and says `ContainerStatusUnknown`."""


def place() -> Path | None:
    """Return the folder with a cluster's programs."""
    return next((path for path in PLACES if (path / "start-kubernetes").exists()), None)


def absent() -> str | None:
    """Return why there can be no cluster at all: nobody gave one. Then tests are skipped, in CI too."""
    if EXTERNAL or place() is not None:
        return None
    return "no Kubernetes: neither UPSWELL_TEST_KUBECONFIG nor ../shared/kubernetes is there"


def missing() -> str | None:
    """Return why a cluster that was given cannot be used on this machine, or None when it can."""
    wanted = ("kubectl",) if EXTERNAL else NEEDED
    if lacking := [name for name in wanted if shutil.which(name) is None]:
        return f"Kubernetes needs {', '.join(lacking)} (scripts/install_servers)"
    if EXTERNAL:
        return None
    if os.geteuid() != 0:
        return "only root can start a Kubernetes"
    if not Path("/sys/fs/cgroup/pids/cgroup.procs").exists() and not _mount_cgroups():
        return "Kubernetes 1.20 needs cgroup v1 hierarchies under /sys/fs/cgroup"
    return None


def _mount_cgroups() -> bool:
    """Mount the v1 hierarchies where a machine has none; return whether that was possible."""
    root = Path("/sys/fs/cgroup")
    if any(root.iterdir()) and (root / "cgroup.controllers").exists():
        return False  # the v2 hierarchy is there, and its controllers are its own
    for name in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"):
        with contextlib.suppress(OSError):
            (root / name).mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "cgroup", "-o", name, "cgroup", str(root / name)], check=False)
    return (root / "pids/cgroup.procs").exists()


class KubernetesCluster:
    """A cluster that answers; usable as a context manager. One that was given is left as it is."""

    def __init__(self) -> None:
        # Not a folder of pytest's: its path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="upswell-k8s.", dir="/var/tmp"))
        self.private = not EXTERNAL
        self.kubeconfig = EXTERNAL or str(self.folder / "state/conf/admin.kubeconfig")
        self._has_image = not self.private
        self._api: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the private cluster."""
        if self.private:
            programs = place()
            assert programs is not None
            self._script(programs / "start-kubernetes")

    def stop(self) -> None:
        """Stop the private cluster, and drop its data."""
        programs = place()
        if self.private and programs is not None and (self.folder / "state/conf/env").exists():
            self._kill()
            if self._api is not None:
                self._api.wait()
            self._script(programs / "stop-kubernetes")
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run kubectl; return what it printed."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"kubectl {arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get` shows, decoded."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def evict(self, namespace: str, pod: str) -> None:
        """Ask the eviction API, as a node's drain and autoscalers do."""
        new = "policy/v1" in self.kubectl("api-versions").split()
        eviction = {
            "apiVersion": "policy/v1" if new else "policy/v1beta1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction))

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """Return a new namespace, which is deleted afterwards, without waiting for it."""
        name = f"upswell-test-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        deadline = time.monotonic() + 60
        while "default" not in self.kubectl("--namespace", name, "get", "serviceaccounts"):
            assert time.monotonic() < deadline, "no account for pods"
            time.sleep(0.1)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def worker_image(self) -> str:
        """Return an image with Upswell in it, on the cluster's node."""
        if not self._has_image:
            self.import_image(worker_archive())
            self._has_image = True
        return IMAGE

    def import_image(self, archive: Path) -> None:
        """Have the node's containerd know an image."""
        socket = self._env()["containerd"]
        done = subprocess.run(
            ["ctr", "-a", socket, "-n", "k8s.io", "images", "import", str(archive)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"ctr images import: {done.stderr[-2000:]}")

    def stop_api(self) -> Sequence[str]:
        """Kill the API server; return how to start it again."""
        pid = self._pid("apiserver")
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        os.kill(pid, signal.SIGKILL)
        if self._api is not None:
            self._api.wait()
        return command

    def start_api(self, command: Sequence[str]) -> None:
        """Start the API server again, as its start script did, and wait until it answers."""
        state = self.folder / "state"
        group = f"/sys/fs/cgroup/pids/{self._env()['id']}/cgroup.procs"
        with (state / "log/apiserver.log").open("ab") as log:
            server = self._api = subprocess.Popen(
                ["sh", "-c", f'echo $$ >{group}; exec "$@"', "sh", *command],
                cwd=state,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[19]
        (state / "pids/apiserver").write_text(f"{server.pid} {started}\n")
        deadline = time.monotonic() + 120
        while "ok" not in self.kubectl("get", "--raw", "/readyz", check=False):
            assert time.monotonic() < deadline, "the API server does not come back"
            time.sleep(0.2)

    def address(self) -> str:
        """Return the API server's host and port."""
        return self._env()["apiserver"].removeprefix("https://")

    def _kill(self) -> None:
        """Kill what the cluster consists of; asked to end, each part would take its time."""
        for path in (self.folder / "state/pids").iterdir():
            pid, started = path.read_text().split()
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text()
                if stat.rpartition(")")[2].split()[19] == started:
                    os.kill(int(pid), signal.SIGKILL)

    def _pid(self, name: str) -> int:
        return int((self.folder / f"state/pids/{name}").read_text().split()[0])

    def _env(self) -> dict[str, str]:
        lines = (self.folder / "state/conf/env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def _script(self, script: Path) -> None:
        with (self.folder / "log").open("ab") as log:
            done = subprocess.run(
                [str(script), "--state", str(self.folder / "state")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=300,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{script.name}: {(self.folder / 'log').read_text()[-4000:]}")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def helm() -> str | None:
    """Return the program helm, if it is here."""
    own = ROOT / ".servers/helm"
    return str(own) if own.exists() else shutil.which("helm")


def worker_archive() -> Path:
    """Return an archive of an image with Upswell as it is now; made once for each state of the sources."""
    wanted = hashlib.sha256((ROOT / "uv.lock").read_bytes() + Path(__file__).read_bytes())
    wanted.update(base_archive().name.encode())
    for path in sorted((ROOT / "src").rglob("*.py")):
        wanted.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"upswell-image-{wanted.hexdigest()[:12]}.tar"
    with (CACHE / "upswell-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for old in CACHE.glob("upswell-image-*.tar"):
                old.unlink()
            _make_archive(kept)
    return kept


def _make_archive(kept: Path) -> None:
    programs = place()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="upswell-image.", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        _unpack_base(root)
        _install(root / "usr/lib/python3/dist-packages", root)
        command = root / "usr/local/bin/upswell"
        command.write_text('#!/bin/sh\nPYTHONUNBUFFERED=1 exec python3 -m upswell "$@"\n')
        command.chmod(0o755)
        part = Path(folder) / "image.tar"
        subprocess.run(
            [sys.executable, programs / "make-image", IMAGE, root, part, "upswell"],
            check=True,
            timeout=300,
        )
        shutil.move(part, kept)


def _unpack_base(root: Path) -> None:
    """Unpack the base that the Docker tests build; it is made at its first use on this machine."""
    if not base_archive().exists():
        with DockerEngine() as engine:
            engine.base_image()
    with tarfile.open(base_archive()) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type] - it is a file
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as packed:
                packed.extractall(root, filter="fully_trusted")


def _install(target: Path, root: Path) -> None:
    version = next(path.name.removeprefix("python") for path in (root / "usr/lib").glob("python3.*"))
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    listed = subprocess.run(
        [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", *extras],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python-version", version]
    subprocess.run(
        [*install, "--target", str(target), "--requirements", "-", str(ROOT)],
        cwd=ROOT,
        check=True,
        input=listed,
        text=True,
        timeout=300,
    )
