"""What `upswell doctor` asks of a cluster, before a worker is wanted: template, broker, folders and rights.

In: settings. Out: a line, or an error that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.errors import FleetError, SettingsError
from upswell.fleets.kubernetes.api import KubernetesApi
from upswell.fleets.kubernetes.manifest import Owner, check_mounts, worker_pod
from upswell.fleets.kubernetes.settings import kubernetes_settings
from upswell.fleets.kubernetes.template import load_template
from upswell.fleets.protocol import WorkerSpec

if TYPE_CHECKING:
    from upswell.settings import Settings


async def check_cluster(settings: Settings) -> str:
    """Check that workers could be started; whether their images can be pulled, only a pod tells.

    Raises:
        UpswellError: they could not.
    """
    if settings.broker == "embedded":
        raise SettingsError(
            "the fleet kubernetes needs RabbitMQ, which pods can reach: set AMQPURL; the embedded broker is "
            "a file of one machine"
        )
    for app_id in settings.apps:
        check_mounts(settings.for_app(app_id), planned_pod(settings, app_id))
    api = KubernetesApi(kubernetes_settings(settings))
    try:
        version, lacking = await api.version(), await api.refused_rights()
        if lacking:
            raise FleetError(
                f"the scaler's account must be allowed to {', '.join(lacking)} in namespace {api.namespace} "
                "(docs/deploy/kubernetes.md, Rights)"
            )
        return f"Kubernetes {version}, namespace {api.namespace}"
    finally:
        await api.close()


def planned_pod(settings: Settings, app_id: str) -> dict[str, object]:
    """Return a pod as one of an application's workers would get it."""
    chosen = kubernetes_settings(settings, app_id)
    worker = WorkerSpec(
        worker_id=f"{app_id}-0", app_id=app_id, standby=False, requested_at=0.0, environment={}
    )
    return worker_pod(
        worker,
        chosen,
        load_template(chosen.pod_template),
        Owner("", ""),
        state_dir=str(settings.state_path),
        hashed="",
    )
