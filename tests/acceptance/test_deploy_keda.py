"""deploy/kubernetes/keda: rendered, held to the newest schemas, and to what the code counts on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import kubernetes_validate
import msgspec
import pytest
import yaml
from msgspec import Meta, Struct

from upswell import healthcheck
from upswell.settings import Settings, load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes/keda"
VERSIONS = ("1.29", "1.35", "1.37")
OBJECTS = ("scaledobject.yaml", "scaledobject-older.yaml")


class ScaleTarget(Struct, forbid_unknown_fields=True):
    """ScaledObject.spec.scaleTargetRef."""

    name: Annotated[str, Meta(min_length=1)]


class Fallback(Struct, forbid_unknown_fields=True, rename="camel"):
    """ScaledObject.spec.fallback; a number of 0 would let KEDA scale to zero while signals are lost."""

    failure_threshold: Annotated[int, Meta(ge=0)]
    replicas: Annotated[int, Meta(ge=1)]
    behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]


class Trigger(Struct, forbid_unknown_fields=True, rename="camel"):
    """ScaledObject.spec.triggers[]."""

    type: Literal["external", "external-push"]
    metric_type: Literal["AverageValue"]
    metadata: dict[str, str]


class Spec(Struct, forbid_unknown_fields=True, rename="camel"):
    """ScaledObject.spec, as far as it is used here (apis/keda/v1alpha1/scaledobject_types.go, KEDA 2.20)."""

    scale_target_ref: ScaleTarget
    polling_interval: Annotated[int, Meta(ge=1)]
    cooldown_period: Annotated[int, Meta(ge=0)]
    min_replica_count: Annotated[int, Meta(ge=0)]
    max_replica_count: Annotated[int, Meta(ge=1)]
    fallback: Fallback
    advanced: dict[Literal["horizontalPodAutoscalerConfig"], dict[Literal["behavior"], dict[str, Any]]]
    triggers: list[Trigger]


def rendered() -> list[dict[str, Any]]:
    """Return all objects of the folder as `kubectl apply -k` sends them."""
    if shutil.which("kubectl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is missing: scripts/install_servers installs it")
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def deployment(name: str) -> dict[str, Any]:
    [found] = [o for o in rendered() if o["kind"] == "Deployment" and o["metadata"]["name"] == name]
    return found["spec"]


def container(name: str) -> dict[str, Any]:
    [found] = deployment(name)["template"]["spec"]["containers"]
    return found


def scaled(name: str) -> Spec:
    return msgspec.convert(yaml.safe_load((FOLDER / name).read_text())["spec"], Spec)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schema_of_its_version(version: str) -> None:
    objects = rendered()
    assert {one["kind"] for one in objects} == {
        "ConfigMap", "Deployment", "Namespace", "NetworkPolicy", "Service"
    }  # fmt: skip
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(("name", "version"), [(OBJECTS[0], "1.35"), *((OBJECTS[1], v) for v in VERSIONS)])
def test_the_behavior_that_keda_passes_on_fits_the_autoscalers_schema(name: str, version: str) -> None:
    spec = scaled(name)
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-upswell-workers"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "upswell-workers"},
            "maxReplicas": spec.max_replica_count,
            "behavior": spec.advanced["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }
    kubernetes_validate.validate(autoscaler, version, strict=True)


def test_an_older_cluster_refuses_the_tolerance_which_is_why_there_are_two() -> None:
    exact, older = (scaled(name).advanced["horizontalPodAutoscalerConfig"]["behavior"] for name in OBJECTS)
    assert exact["scaleUp"].pop("tolerance") == exact["scaleDown"].pop("tolerance") == "0"
    assert exact == older
    assert older["scaleDown"]["stabilizationWindowSeconds"] == 0


@pytest.mark.parametrize("name", OBJECTS)
def test_the_object_fits_keda_and_the_settings(name: str) -> None:
    spec = scaled(name)
    [settings] = [o["data"] for o in rendered() if o["kind"] == "ConfigMap"]
    assert spec.scale_target_ref.name == "upswell-workers"
    assert spec.min_replica_count == int(settings["UPSWELL_MIN_WORKERS"])
    assert spec.max_replica_count >= int(settings["UPSWELL_MAX_WORKERS"])
    [trigger] = spec.triggers
    assert trigger.metadata == {"scalerAddress": "upswell-keda.upswell.svc:6000", "application": "e123456"}
    assert settings["UPSWELL_APPS"] == "e123456"


@pytest.mark.parametrize("name", ["upswell-monitor", "upswell-keda", "upswell-workers"])
def test_each_parts_variables_are_settings_and_its_probes_are_what_the_code_does(name: str) -> None:
    [settings] = [o["data"] for o in rendered() if o["kind"] == "ConfigMap"]
    spec = deployment(name)["template"]["spec"]
    own = {one["name"]: one.get("value", "e123456-pod") for one in container(name).get("env", [])}
    loaded, _ = load(environment={**settings, **own})
    assert loaded.objective.seconds == 30.0
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False


def test_a_worker_shows_as_not_ready_in_time_and_may_drain() -> None:
    spec, worker = deployment("upswell-workers")["template"]["spec"], container("upswell-workers")
    probe = worker["readinessProbe"]
    image = (ROOT / "Dockerfile").read_text()
    [heartbeat] = re.findall(rf"{healthcheck.VARIABLE}=(\S+)", image)
    assert probe["exec"]["command"] == ["test", "-e", heartbeat + healthcheck.READY_SUFFIX]
    assert probe["periodSeconds"] * probe["failureThreshold"] + 1 <= Settings().keda_unready_seconds
    environment = {one["name"]: one for one in worker["env"]}
    assert environment["UPSWELL_WORKER_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert float(environment["UPSWELL_DRAIN_TIMEOUT"]["value"]) < spec["terminationGracePeriodSeconds"]
    assert deployment("upswell-workers").get("replicas") is None
    assert deployment("upswell-workers")["strategy"]["rollingUpdate"]["maxSurge"] == 0
