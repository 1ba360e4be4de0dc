"""From a worker's spec to its pod. Pure.

In: a spec, settings, the operator's template, the owner. Out: a pod as Kubernetes writes it. Three layers:
our defaults (who restrains a pod), the template over them, our own fields over both, which always win. No
text of a message gets here: ids match strict patterns, all else is settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.fleets.container_options import arguments
from upswell.fleets.environment import identity, parted
from upswell.fleets.kubernetes.settings import dns_name
from upswell.fleets.kubernetes.template import Tree, merged, mount_paths
from upswell.fleets.mounts import mounts
from upswell.fleets.secrets_in_memory import IN_CONTAINER
from upswell.settings.secret_files import SECRETS_VARIABLE

if TYPE_CHECKING:
    from upswell.fleets.kubernetes.settings import KubernetesSettings
    from upswell.fleets.protocol import WorkerSpec
    from upswell.settings import Settings

CONTAINER = "worker"
"""The container whose exit counts; others are sidecars."""

USER = 10001
"""The user of our Dockerfile; any does."""

STANDARD_LABELS = {"app.kubernetes.io/name": "upswell", "app.kubernetes.io/managed-by": "upswell"}
COMPONENT = "app.kubernetes.io/component"
INSTALLATION, APPLICATION, SETTINGS_HASH = "upswell/installation", "upswell/application", "upswell/settings"
WORKER, APP, REQUESTED_AT, STANDBY = (
    "upswell/worker",
    "upswell/app",
    "upswell/requested-at",
    "upswell/standby",
)

_STAYS = {
    # Who takes a node away waits until the worker on it has finished.
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


class Owner(Struct, frozen=True):
    """The ConfigMap that an application's pods and Secret belong to, and go with."""

    name: str
    uid: str

    def reference(self, *, controller: bool) -> Tree:
        """Return the owner reference. `kubectl drain` evicts only pods that have a controller."""
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": self.name,
            "uid": self.uid,
            **({"controller": True} if controller else {}),
        }


def selector(installation: str) -> dict[str, str]:
    """Return the labels by which an installation's workers are found."""
    return {INSTALLATION: installation, COMPONENT: "worker"}


def labels_of(installation: str, app_id: str) -> dict[str, str]:
    """Return the labels of everything that belongs to an application; its exact id is an annotation."""
    return {**STANDARD_LABELS, INSTALLATION: installation, APPLICATION: dns_name(app_id)}


def belongings_name(installation: str, app_id: str) -> str:
    """Return the name of an application's ConfigMap and Secret."""
    return dns_name(f"{installation}-{app_id}")


def worker_pod(
    worker: WorkerSpec,
    chosen: KubernetesSettings,
    template: Tree,
    owner: Owner,
    *,
    state_dir: str,
    hashed: str,
) -> Tree:
    """Return the pod of a worker.

    `template`: the operator's. `owner`: the Secret has the same name. `state_dir`: a folder that the worker
    may write to, at the same path as its scaler's. `hashed`: of the settings that it runs.
    """
    return merged(merged(_defaults(state_dir), template), _own(worker, chosen, owner, hashed))


def check_mounts(settings: Settings, template: Tree) -> None:
    """Check that the folders which a worker shares with its clients are volumes that outlive its pod.

    `template`: the operator's; nothing of our own is such a volume.

    Raises:
        SettingsError: uploads would be stored in the pod and go with it, or sources are not there.
    """
    pod = merged(_defaults(str(settings.state_path)), template)
    paths = [Path(path) for path in mount_paths(pod["spec"], CONTAINER)]
    for mount in mounts(settings):
        if not any(Path(mount.path).is_relative_to(path) for path in paths):
            what = "read from" if mount.read_only else "stored in"
            raise SettingsError(
                f"uploads are {what} {mount.path}, which must be a volume of the workers' pods: mount one "
                "there in fleets.kubernetes.pod_template, or use a store such as s3://"
            )


def _defaults(state_dir: str) -> Tree:
    """Return what a template may change: what restrains the pod, and where it may write."""
    return {
        "spec": {
            "automountServiceAccountToken": False,
            # Else a Service called upswell-... would set variables that look like our settings.
            "enableServiceLinks": False,
            # Process 1 ignores SIGTERM until it has a handler: it would be lost on a worker that just starts.
            "shareProcessNamespace": True,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "upswell-tmp", "mountPath": "/tmp"},  # noqa: S108 - of the pod alone
                        {"name": "upswell-state", "mountPath": state_dir},
                    ],
                }
            ],
            "volumes": [
                {"name": "upswell-tmp", "emptyDir": {}},
                {"name": "upswell-state", "emptyDir": {}},
            ],
        }
    }


def _own(worker: WorkerSpec, chosen: KubernetesSettings, owner: Owner, hashed: str) -> Tree:
    shown, _ = parted(worker.environment)
    variables = {**shown, **identity(worker), SECRETS_VARIABLE: IN_CONTAINER}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": dns_name(worker.worker_id),
            "generateName": None,
            "labels": {
                **labels_of(chosen.installation, worker.app_id),
                COMPONENT: "worker",
                SETTINGS_HASH: hashed,
            },
            "annotations": {
                WORKER: worker.worker_id,
                APP: worker.app_id,
                REQUESTED_AT: repr(worker.requested_at),
                STANDBY: str(worker.standby).lower(),
                **_STAYS,
            },
            "ownerReferences": [owner.reference(controller=True)],
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": chosen.grace_seconds,
            "containers": [
                {
                    "name": CONTAINER,
                    "image": chosen.image,
                    "args": arguments(worker),
                    # A crashed worker's last lines stand in its status then, and outlive its pod.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "env": [{"name": n, "value": _literal(v)} for n, v in sorted(variables.items())],
                    "volumeMounts": [
                        {"name": "upswell-secrets", "mountPath": IN_CONTAINER, "readOnly": True}
                    ],
                }
            ],
            "volumes": [
                {"name": "upswell-secrets", "secret": {"secretName": owner.name, "defaultMode": 0o444}}
            ],
        },
    }


def _literal(value: str) -> str:
    """Return a variable's value with nothing in it that Kubernetes would replace."""
    return value.replace("$(", "$$(")
