"""The labels of a worker on a platform: whose it is, and all that a restarted scaler must know of it. Pure.

In: worker specs. Out: labels, and from labels a worker again. It knows no platform.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from upswell.fleets.protocol import FleetWorker
from upswell.fleets.worker_settings import settings_hash, worker_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.fleets.protocol import WorkerSpec
    from upswell.settings import Settings

INSTALLATION, APP, WORKER, SETTINGS = "upswell.fleet", "upswell.app", "upswell.worker", "upswell.settings"
REQUESTED_AT, STANDBY, REPORTS_STATUS = "upswell.requested_at", "upswell.standby", "upswell.reports_status"

_MAX_NAME = 63
"""A name is a DNS label, as Swarm demands."""


def labels(
    worker: WorkerSpec, installation: str, settings: Settings, *, reports_status: bool
) -> tuple[dict[str, str], FleetWorker]:
    """Return the labels of a worker to start, and the worker as they describe it."""
    told = {
        INSTALLATION: installation,
        APP: worker.app_id,
        WORKER: worker.worker_id,
        SETTINGS: settings_hash(worker_settings(settings.for_app(worker.app_id), worker.app_id)),
        REQUESTED_AT: repr(worker.requested_at),
        STANDBY: str(worker.standby),
        REPORTS_STATUS: str(reports_status),
    }
    known = labelled(told)
    assert known is not None
    return told, known


def labelled(found: Mapping[str, str]) -> FleetWorker | None:
    """Return the running worker that labels describe; None: they are not ours, whoever wrote them."""
    try:
        return FleetWorker(
            worker_id=found[WORKER],
            app_id=found[APP],
            state="running",
            requested_at=float(found[REQUESTED_AT]),
            standby=found[STANDBY] == "True",
            reports_status=found[REPORTS_STATUS] == "True",
        )
    except (KeyError, ValueError):
        return None


def platform_name(worker_id: str) -> str:
    """Return a worker's name on its platform, so that it cannot be started twice.

    >>> platform_name("photos-1a2b3c4d5e")
    'upswell-photos-1a2b3c4d5e'
    """
    name = f"upswell-{worker_id}"
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[: _MAX_NAME - 17]}-{hashlib.sha256(worker_id.encode()).hexdigest()[:16]}"
