"""From a worker's spec, an operator's template and settings to a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from upswell.errors import SettingsError
from upswell.fleets.kubernetes.manifest import Owner, check_mounts, worker_pod
from upswell.fleets.kubernetes.settings import KubernetesSettings, dns_name, kubernetes_settings
from upswell.fleets.kubernetes.template import load_template, merged
from upswell.fleets.protocol import WorkerSpec
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"UPSWELL_APPS": "a1", "AMQPURL": "amqp://me:hunter2@host/", "AWS_SECRET_ACCESS_KEY": "hunter3"}


def made(
    template: dict[str, Any] | None = None, *, worker_id: str = "a1-0123456789", standby: bool = False
) -> dict[str, Any]:
    worker = WorkerSpec(
        worker_id=worker_id, app_id="a1", standby=standby, requested_at=1.5, environment=ENVIRONMENT
    )
    chosen = KubernetesSettings(image="registry/upswell:1", grace_seconds=77)
    return worker_pod(
        worker, chosen, template or {}, Owner("upswell-a1", "u-1"), state_dir="/var/lib/upswell", hashed="abc"
    )


def worker_container(pod: dict[str, Any]) -> dict[str, Any]:
    return next(found for found in pod["spec"]["containers"] if found["name"] == "worker")


def test_a_pod_is_named_as_its_worker_and_belongs_to_one_owner() -> None:
    metadata = made()["metadata"]
    assert metadata["name"] == "a1-0123456789"
    assert metadata["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "upswell-a1", "uid": "u-1", "controller": True}
    ]
    assert metadata["labels"]["upswell/installation"] == "upswell"
    assert metadata["labels"]["upswell/settings"] == "abc"
    assert metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert metadata["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_no_secret_stands_in_a_pod() -> None:
    text = yaml.safe_dump(made())
    assert "hunter" not in text
    assert "AMQPURL" not in text
    assert {"name": "UPSWELL_SECRETS", "value": "/run/upswell/secrets"} in worker_container(made())["env"]


def test_what_restrains_a_pod_is_strict_until_the_template_says_otherwise() -> None:
    spec = made()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["shareProcessNamespace"] is True
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert worker_container(made())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    own = made({"spec": {"securityContext": {"runAsUser": 1000}}})["spec"]["securityContext"]
    assert own["runAsUser"] == 1000
    assert own["runAsNonRoot"] is True


def test_our_own_fields_win_over_the_template() -> None:
    pod = made(
        {
            "metadata": {
                "name": "mine",
                "generateName": "x-",
                "labels": {"upswell/installation": "other", "team": "a"},
            },
            "spec": {
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 1,
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "spot", "operator": "Exists"}],
                "containers": [
                    {
                        "name": "worker",
                        "image": "evil",
                        "args": ["rm"],
                        "env": [{"name": "UPSWELL_APPS", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                        "resources": {"requests": {"cpu": "1"}},
                    },
                    {"name": "sidecar", "image": "logs"},
                ],
            },
        }
    )  # fmt: skip
    worker = worker_container(pod)
    assert pod["metadata"]["name"] == "a1-0123456789"
    assert "generateName" not in pod["metadata"]
    assert pod["metadata"]["labels"]["upswell/installation"] == "upswell"
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 77
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["spec"]["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert worker["image"] == "registry/upswell:1"
    assert worker["args"] == ["worker", "--app", "a1"]
    assert {"name": "UPSWELL_APPS", "value": "a1"} in worker["env"]
    assert worker["resources"] == {"requests": {"cpu": "1"}}
    assert [found["name"] for found in pod["spec"]["containers"]] == ["worker", "sidecar"]


def test_a_standby_worker_is_told_so() -> None:
    assert worker_container(made(standby=True))["args"] == ["worker", "--app", "a1", "--standby"]


def test_kubernetes_expands_nothing_in_a_value() -> None:
    worker = WorkerSpec(
        worker_id="w", app_id="a1", standby=False, requested_at=0.0, environment={"UPSWELL_X": "$(HOME) $(Y)"}
    )
    pod = worker_pod(worker, KubernetesSettings(), {}, Owner("o", "u"), state_dir="/s", hashed="")
    assert {"name": "UPSWELL_X", "value": "$$(HOME) $$(Y)"} in worker_container(pod)["env"]


def test_a_name_is_a_dns_label_and_different_ids_have_different_ones() -> None:
    assert dns_name("a1-0123456789") == "a1-0123456789"
    names = {dns_name(text) for text in ("My_App", "my-app", "MY-APP", "_", "x" * 80, "x" * 81)}
    assert len(names) == 6
    assert all(len(name) <= 63 and name == name.lower() and name[0].isalnum() for name in names)


def test_lists_are_merged_by_name_and_other_lists_are_replaced() -> None:
    under = {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}], "dnsConfig": [1, 2]}
    over = {"volumes": [{"name": "b", "hostPath": {"path": "/b"}}, {"name": "c"}], "dnsConfig": [3]}
    assert merged(under, over) == {
        "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/b"}}, {"name": "c"}],
        "dnsConfig": [3],
    }
    assert under["volumes"][1] == {"name": "b", "emptyDir": {}}


def test_uploads_are_not_stored_in_a_pod_that_goes() -> None:
    settings = Settings(
        broker_url="amqp://h", state_dir="/var/lib/upswell", source_roots=["/in"], destination="/out/{app_id}"
    ).for_app("a1")
    with pytest.raises(SettingsError, match="stored in /out/a1, which must be a volume"):
        check_mounts(settings, made())
    out = {"name": "out", "mountPath": "/out"}
    template = {"spec": {"containers": [{"name": "worker", "volumeMounts": [out]}],
                         "volumes": [{"name": "out", "nfs": {"server": "s", "path": "/"}}]}}  # fmt: skip
    with pytest.raises(SettingsError, match="read from /in"):
        check_mounts(settings, made(template))
    template["spec"]["volumes"] = [{"name": "out", "emptyDir": {}}]
    with pytest.raises(SettingsError, match="stored in /out/a1"):
        check_mounts(settings, made(template))


def test_a_remote_store_needs_no_volume() -> None:
    settings = Settings(broker_url="amqp://h", destination="s3://bucket").for_app("a1")
    check_mounts(settings, made())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "must be a mapping"),
        ("a: [", "must be YAML"),
        ("kind: Deployment", "of kind Pod, got 'Deployment'"),
        ("specs: {}", "metadata and spec only, got 'specs'"),
        ("spec: 3", "a mapping as its spec"),
        ("spec: {containers: [{image: x}]}", "name each of its containers"),
        ("spec: {volumes: [{emptyDir: {}}]}", "name each of its volumes"),
        (
            "spec: {containers: [{name: worker, volumeMounts: [{mountPath: /x}]}]}",
            "a name and a mountPath in each of its volumeMounts",
        ),
    ],
)
def test_a_template_that_is_no_pod_says_its_rule(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_template(str(path))


def test_a_missing_template_is_named() -> None:
    with pytest.raises(SettingsError, match="pod_template cannot be read"):
        load_template("/nowhere/t.yaml")


def test_a_pod_template_object_is_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("apiVersion: v1\nkind: PodTemplate\ntemplate: {spec: {priorityClassName: low}}")
    assert load_template(str(path)) == {"spec": {"priorityClassName": "low"}}


def test_an_applications_own_image_is_taken() -> None:
    settings = Settings(
        fleets={"kubernetes": {"image": "r/{app_id}:1"}},
        apps={"a1": {}, "a2": {"fleets": {"kubernetes": {"image": "other"}}}},
    )
    assert kubernetes_settings(settings, "a1").image == "r/a1:1"
    assert kubernetes_settings(settings, "a2").image == "other"
