"""deploy/kubernetes/ and the Helm chart, rendered and held to Kubernetes' own schemas; needs no cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from conftest import skip_or_fail
from support import kubernetes_cluster
from upswell.fleets.kubernetes.api import RIGHTS
from upswell.fleets.kubernetes.manifest import Owner, worker_pod
from upswell.fleets.kubernetes.settings import kubernetes_settings
from upswell.fleets.kubernetes.template import load_template
from upswell.fleets.protocol import WorkerSpec
from upswell.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
VERSIONS = ("1.25", "1.34", "1.37")
"""The oldest and the newest that `kubernetes-validate` knows, and the one that most run."""

Manifests = list[dict[str, Any]]


def run(*command: str | Path, fails: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def manifests(text: str) -> Manifests:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture
def kustomized() -> Manifests:
    return manifests(run("kubectl", "kustomize", ROOT / "deploy/kubernetes"))


@pytest.fixture
def helm() -> Callable[..., str]:
    program = kubernetes_cluster.helm()
    if program is None:
        skip_or_fail("Helm is not installed (scripts/install_servers)")
    chart = ROOT / "deploy/helm/upswell"

    def call(*arguments: str, fails: bool = False) -> str:
        command = (program or "", *arguments[:1], *(["upswell"] if arguments[0] == "template" else []))
        return run(*command, chart, "--namespace", "upswell", *arguments[1:], fails=fails)

    return call


def held_to_schemas(documents: Manifests) -> None:
    for document in documents:
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)


def rights(documents: Manifests) -> set[tuple[str, str]]:
    (role,) = (found for found in documents if found["kind"] == "Role")
    return {(verb, what) for rule in role["rules"] for verb in rule["verbs"] for what in rule["resources"]}


def parts(documents: Manifests) -> dict[str, dict[str, Any]]:
    """Return the pods of monitor and scaler."""
    sets = [
        found
        for found in documents
        if found["kind"] == "StatefulSet" and "upswell" in found["metadata"]["name"]
    ]
    return {found["metadata"]["name"]: found["spec"]["template"] for found in sets}


def settings_in(documents: Manifests, folder: Path) -> Settings:
    (found,) = (one for one in documents if one["kind"] == "ConfigMap")
    (folder / "upswell.toml").write_text(found["data"]["upswell.toml"])
    assert load_template_in(found, folder)
    return load({}, {}, folder / "upswell.toml")[0]


def load_template_in(config_map: dict[str, Any], folder: Path) -> dict[str, Any]:
    path = folder / "pod-template.yaml"
    path.write_text(config_map["data"]["pod-template.yaml"])
    return load_template(str(path))


def test_the_manifests_are_valid_for_old_and_new_clusters(kustomized: Manifests, tmp_path: Path) -> None:
    held_to_schemas(kustomized)
    assert rights(kustomized) == set(RIGHTS)
    settings = settings_in(kustomized, tmp_path)
    assert settings.fleet == "kubernetes"
    assert settings.for_app("e123456").max_workers == 20


def test_the_components_add_volumes_and_rabbitmq(tmp_path: Path) -> None:
    components = [str(ROOT / "deploy/kubernetes" / name) for name in ("persistent", "rabbitmq")]
    overlay = {"resources": [str(ROOT / "deploy/kubernetes")], "components": components}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(relative(overlay, tmp_path)))
    rendered = manifests(run("kubectl", "kustomize", tmp_path))
    held_to_schemas(rendered)
    sets = {found["metadata"]["name"]: found["spec"] for found in rendered if found["kind"] == "StatefulSet"}
    assert set(sets) == {"upswell-monitor", "upswell-scaler", "rabbitmq"}
    for name in ("upswell-monitor", "upswell-scaler"):
        assert [claim["metadata"]["name"] for claim in sets[name]["volumeClaimTemplates"]] == ["state"]
        assert "state" not in [volume["name"] for volume in sets[name]["template"]["spec"]["volumes"]]


def relative(overlay: dict[str, list[str]], folder: Path) -> dict[str, list[str]]:
    """Return an overlay as kustomize wants it: paths below its own folder or beside it."""
    up = "../" * (len(folder.resolve().parts) - 1)
    return {key: [f"{up}{path.lstrip('/')}" for path in paths] for key, paths in overlay.items()}


def test_the_chart_is_valid_and_gives_the_same_as_the_manifests(
    helm: Callable[..., str], kustomized: Manifests, tmp_path: Path
) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict")
    rendered = manifests(helm("template"))
    held_to_schemas(rendered)
    assert rights(rendered) == set(RIGHTS)
    settings = settings_in(rendered, tmp_path)
    assert settings.for_app("e123456").max_workers == 20
    assert kubernetes_settings(settings).installation == "upswell"
    ours, theirs = parts(kustomized), parts(rendered)
    for name, pod in ours.items():
        own, other = pod["spec"], theirs[name]["spec"]
        for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
            assert own[key] == other[key]
        for key in ("args", "env", "securityContext", "livenessProbe", "volumeMounts", "resources"):
            assert own["containers"][0][key] == other["containers"][0][key]


def test_the_chart_gives_a_volume_each_where_that_is_wanted(helm: Callable[..., str]) -> None:
    rendered = manifests(
        helm("template", "--set", "persistence.enabled=true,persistence.storageClass=fast,hostNetwork=true")
    )
    held_to_schemas(rendered)
    claims = [found["spec"]["volumeClaimTemplates"] for found in rendered if found["kind"] == "StatefulSet"]
    assert [claim[0]["spec"]["storageClassName"] for claim in claims] == ["fast", "fast"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("settings.slots.a=1", "settings"),
        ("installation=Not_A_Label", "installation"),
        ("imagee.tag=1", "imagee"),
        ("graceSeconds=0", "graceSeconds"),
        ("podTemplate.kind=Deployment", "podTemplate"),
    ],
)
def test_the_chart_refuses_values_that_break_a_rule(given: str, said: str, helm: Callable[..., str]) -> None:
    assert said in helm("template", "--set", given, fails=True)


def test_a_workers_pod_is_valid_for_old_and_new_clusters() -> None:
    worker = WorkerSpec(
        worker_id="e123456-0a1b2c3d4e",
        app_id="e123456",
        standby=True,
        requested_at=1.5,
        environment={"UPSWELL_APPS": "e123456"},
    )
    template = load_template(str(ROOT / "deploy/kubernetes/pod-template.yaml"))
    owner = Owner("upswell-e123456", "9d0e8f1c")
    chosen = kubernetes_settings(Settings(), "e123456")
    held_to_schemas(
        [worker_pod(worker, chosen, template, owner, state_dir="/var/lib/upswell", hashed="0a1b")]
    )
