"""What every fleet promises, and what the fleet `kubernetes` does besides, on a real Kubernetes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from upswell.fleets.kubernetes.fleet import KubernetesFleet
from upswell.settings import Settings
from upswell.testing.fleets import STAND_IN, FleetContract, OpenFleet, spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.kubernetes_cluster import KubernetesCluster
    from upswell.fleets.protocol import FleetWorker

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

TEMPLATE: dict[str, Any] = {
    "spec": {
        "hostNetwork": True,
        "containers": [
            {
                "name": "worker",
                "command": ["python3", "/stand-in/stand_in_worker.py"],
                "env": [{"name": "DRAIN_SECONDS", "value": "2"}],
                "volumeMounts": [{"name": "stand-in", "mountPath": "/stand-in"}],
            }
        ],
        "volumes": [{"name": "stand-in", "configMap": {"name": "stand-in"}}],
    }
}
"""A pod template with which workers run the stand-in; JSON is YAML."""

Story = "Callable[[KubernetesFleet], Awaitable[None]]"


@pytest.fixture
def settings(kubernetes: KubernetesCluster, namespace: str, tmp_path: Path) -> Settings:
    """Settings of a fleet whose workers run the stand-in, in a namespace of its own."""
    kubernetes.kubectl("--namespace", namespace, "create", "configmap", "stand-in", f"--from-file={STAND_IN}")
    return with_template(
        Settings(
            state_dir=str(tmp_path / "state"),
            broker_url="amqp://u:p@127.0.0.1",
            destination="s3://bucket",
            fleet="kubernetes",
            apps={"a1": {}},
            fleets={"kubernetes": {"image": kubernetes.worker_image(), "namespace": namespace}},
        ),
        tmp_path,
        TEMPLATE,
    )


def with_template(settings: Settings, folder: Path, template: dict[str, Any]) -> Settings:
    path = folder / f"template-{time.monotonic_ns()}.yaml"
    path.write_text(json.dumps(template))
    own = {**settings.fleets["kubernetes"], "pod_template": str(path)}
    return replace(settings, fleets={"kubernetes": own})


def play(settings: Settings, story: Story) -> KubernetesFleet:
    async def scenario() -> KubernetesFleet:
        fleet = KubernetesFleet(settings)
        try:
            await story(fleet)
        finally:
            await fleet.close()
        return fleet

    return asyncio.run(scenario())


async def when(
    fleet: KubernetesFleet, condition: Callable[[list[FleetWorker]], bool], seconds: float = 120.0
) -> list[FleetWorker]:
    """Return the workers when they are so."""
    deadline = time.monotonic() + seconds
    while not condition(workers := await fleet.list()):
        assert time.monotonic() < deadline, workers
        await asyncio.sleep(0.05)
    return workers


class TestKubernetesFleet(FleetContract):
    """The promises of every fleet."""

    signals_by_deleting = True

    @pytest.fixture
    def open_fleet(self, settings: Settings) -> OpenFleet:
        """Open the same fleet anew; its pods go with their namespace."""
        return lambda: KubernetesFleet(settings)


def test_a_worker_costs_two_requests(settings: Settings) -> None:
    """One to create, one to delete; what an application's pods share, and following them, comes once."""

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.list()
        names = [f"w{number}" for number in range(10)]
        await asyncio.gather(*(fleet.start(spec(name, app_id="fails")) for name in names))
        ended = await when(fleet, lambda workers: [w.state for w in workers] == ["exited"] * 10)
        for worker in ended:
            await fleet.forget(worker.worker_id)
        await when(fleet, lambda workers: not workers)
        assert fleet.api.calls.pop("list pods") <= 8
        assert fleet.api.calls.pop("watch pods") <= 8
        assert fleet.api.calls == {
            "patch configmaps": 1, "patch secrets": 1, "create pods": 10, "delete pods": 10,
        }  # fmt: skip

    play(settings, story)
