"""What `upswell doctor` asks of a cluster, before a worker is wanted: template, broker, folders and rights.

In: settings. Out: a line, or an error that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.errors import FleetError, SettingsError
from upswell.fleets.kubernetes.api import KubernetesApi
from upswell.fleets.kubernetes.manifest import check_mounts
from upswell.fleets.kubernetes.settings import kubernetes_settings
from upswell.fleets.kubernetes.template import load_template

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
        template = load_template(kubernetes_settings(settings, app_id).pod_template)
        check_mounts(settings.for_app(app_id), template)
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
