"""A RabbitMQ cluster of three nodes under load: each killed or hung in turn, one cut off from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from conftest import skip_or_fail
from support import rabbitmq_node
from support.rabbitmq_cluster import RabbitCluster
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOADS = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitCluster]:
    reason = rabbitmq_node.missing()
    if reason:
        skip_or_fail(reason)
    with RabbitCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def system(cluster: RabbitCluster, tmp_path: Path) -> Iterator[System]:
    with System(
        tmp_path,
        broker_url=cluster.url,
        app_id=f"e{uuid4().hex[:8]}",
        fleet="process",
        policy="constant",
        min_workers=3,
        upload_rate_limit=30_000,
    ) as made:
        yield made


def begin(system: System) -> None:
    requests = system.make_requests(UPLOADS, size=10_000)
    system.start("up")
    system.publish(requests)
    stored(system, 5)


def stored(system: System, least: int) -> None:
    wait_until(lambda: system.stored_count() >= least, 100, system.logs)


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_each_node_is_killed_in_turn_and_started_again(cluster: RabbitCluster, system: System) -> None:
    """So the worker's node, the monitor's, and the one that leads each queue."""
    begin(system)
    queues = cluster.nodes[0].ctl("list_queues", "--quiet", "name", "members").splitlines()
    (members,) = [line for line in queues if line.startswith(f"{system.app_id}_upload\t")]
    assert all(node.name in members for node in cluster.nodes), members
    for node in cluster.nodes:
        node.kill()
        stored(system, min(UPLOADS, system.stored_count() + 20))
        node.start()
    stored(system, UPLOADS)
    assert len(system.stored()) == UPLOADS


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_a_node_is_cut_off_from_the_others_and_joins_them_again(
    cluster: RabbitCluster, system: System
) -> None:
    begin(system)
    node = cluster.nodes[1]
    cluster.cut_off(node)
    wait_until(lambda: not node.answers(), 60, node.log)
    stored(system, min(UPLOADS, system.stored_count() + 60))
    cluster.join_again(node)
    wait_until(node.answers, 60, node.log)
    stored(system, UPLOADS)
    assert len(system.stored()) == UPLOADS


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_each_node_hangs_in_turn_and_goes_on(cluster: RabbitCluster, system: System) -> None:
    """The kernel still takes connections for it, and closes none: nothing says that nobody is there."""
    begin(system)
    for node in cluster.nodes:
        node.hang()
        stored(system, min(UPLOADS, system.stored_count() + 40))
        node.go_on()
    stored(system, UPLOADS)
    assert len(system.stored()) == UPLOADS
