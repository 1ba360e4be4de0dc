"""Servers that tests share: a RabbitMQ node and a Docker engine for a whole session, started at first use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support import (
    docker_engine,
    kubernetes_cluster,
    postgres_server,
    prometheus,
    rabbitmq_node,
    rclone,
    s3_server,
    server_process,
)
from upswell import events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# An example that takes long on a busy machine says nothing; each test has a time limit of its own. In CI the
# examples are the same each time: new ones are for whoever can look into what they find.
hypothesis.settings.register_profile("upswell", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("upswell")

# A run in a shell's background ignores Ctrl-C, one under nohup its terminal's end, and so would every command
# that a test starts.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def skip_or_fail(reason: str) -> None:
    """Skip a test whose server is missing; in CI, where nothing may be missing, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _log_as_by_default() -> Iterator[None]:
    """A command run inside the test process configures the log; the next test must not see that."""
    yield
    events.use_logging()


@pytest.fixture(scope="session")
def rabbitmq_node_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rabbitmq_node.RabbitNode]:
    """The shared node: tests tell themselves apart by their queue names, and none may stop it."""
    reason = rabbitmq_node.missing()
    if reason:
        skip_or_fail(reason)
    with rabbitmq_node.RabbitNode(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


@pytest.fixture
def rabbitmq(rabbitmq_node_session: rabbitmq_node.RabbitNode) -> str:
    """The shared node's AMQP URL."""
    return rabbitmq_node_session.url


@pytest.fixture(scope="session")
def engine() -> Iterator[docker_engine.DockerEngine]:
    """The shared Docker engine: the one that runs on this machine, else a private one."""
    reason = docker_engine.missing()
    if reason:
        skip_or_fail(reason)
    with docker_engine.DockerEngine() as engine:
        yield engine


@pytest.fixture
def docker_host(engine: docker_engine.DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Docker's client in this process ask the shared engine."""
    if engine.host:
        monkeypatch.setenv("DOCKER_HOST", engine.host)


@pytest.fixture
def promtool() -> str:
    """The program that checks metrics and rules; where it is, Prometheus is too."""
    reason = prometheus.missing()
    if reason:
        skip_or_fail(reason)
    return server_process.program("promtool") or ""


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[kubernetes_cluster.KubernetesCluster]:
    """The shared Kubernetes cluster, with an image of Upswell on it; each test has a namespace of its own.

    Where nobody gave a cluster, its tests are skipped, in CI too.
    """
    if reason := kubernetes_cluster.absent():
        pytest.skip(reason)
    if reason := kubernetes_cluster.missing():
        skip_or_fail(reason)
    with kubernetes_cluster.KubernetesCluster() as cluster:
        cluster.worker_image()
        yield cluster


@pytest.fixture
def namespace(
    kubernetes: kubernetes_cluster.KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A new namespace of the cluster, whose API clients in this process ask."""
    monkeypatch.setenv("KUBECONFIG", kubernetes.kubeconfig)
    with kubernetes.namespace() as name:
        yield name


@pytest.fixture
def swarm_host(engine: docker_engine.DockerEngine, docker_host: None) -> None:
    """Have the shared engine manage a Swarm of one node."""
    engine.init_swarm()


@pytest.fixture(scope="session")
def postgres_session() -> Iterator[postgres_server.PostgresServer]:
    """The shared PostgreSQL server; each test has a database of its own."""
    reason = postgres_server.missing()
    if reason:
        skip_or_fail(reason)
    with postgres_server.PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(
    postgres_session: postgres_server.PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Have PostgreSQL's clients in this process ask a new database; the variables, for other processes."""
    environment = postgres_session.new_database()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """The endpoint of a server of S3 for this test alone; rclone is there to look into it."""
    reason = s3_server.missing("seaweedfs") or rclone.missing()
    if reason:
        skip_or_fail(reason)
    with s3_server.s3_server("seaweedfs", tmp_path / "s3") as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        skip_or_fail("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.check_call(["umount", "--lazy", str(folder)])


def fill_disk(folder: Path) -> None:
    """Leave no room on a small disk, but for what is deleted: `folder`/ballast."""
    with (folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)
