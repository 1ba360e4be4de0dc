"""A worker's Swarm service, as the engine's API is told. Pure.

In: a worker, its settings, its secrets by reference. Out: the parts of `POST /services/create`. It asks no
engine. One replicated job of one task, never restarted and never updated by Swarm: docs/decisions says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upswell.fleets.container_options import LOG_LIMITS, arguments
from upswell.fleets.docker_settings import in_bytes
from upswell.fleets.secrets_in_memory import IN_CONTAINER
from upswell.settings.secret_files import SECRETS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.fleets.docker_settings import SwarmSettings
    from upswell.fleets.protocol import WorkerSpec

MODE = {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
ENDPOINT = {"Mode": "dnsrr"}
"""No virtual IP: a network would be full near a hundred services, without an error."""

_TMPFS_BYTES = 256 * 1024**2


def task_template(
    worker: WorkerSpec,
    chosen: SwarmSettings,
    *,
    environment: Mapping[str, str],
    labels: Mapping[str, str],
    secrets: Mapping[str, tuple[str, str]],
    state_path: str,
) -> dict[str, Any]:
    """Return a worker's task.

    `environment`: nothing secret. `secrets`: variable -> (id, name) of the Swarm secret. `state_path`: the
    folder that a worker may write, in memory.
    """
    in_memory = [
        {"Type": "tmpfs", "Target": path, "TmpfsOptions": {"SizeBytes": _TMPFS_BYTES, "Mode": 0o1777}}
        for path in ("/tmp", state_path)  # noqa: S108 - in the container
    ]
    limits = {"NanoCPUs": int(chosen.cpus * 1e9), "MemoryBytes": in_bytes(chosen.memory)}
    return {
        "ContainerSpec": {
            "Image": chosen.image,
            "Args": arguments(worker),
            "Env": {**environment, SECRETS_VARIABLE: IN_CONTAINER},
            "Labels": dict(labels),
            "ReadOnly": chosen.read_only,
            "Mounts": in_memory if chosen.read_only else [],
            "CapabilityDrop": ["ALL"],
            "Privileges": {"NoNewPrivileges": True},
            "Init": True,
            "StopGracePeriod": int(chosen.stop_grace_seconds * 1e9),
            "Secrets": [
                {
                    "SecretID": identifier,
                    "SecretName": name,
                    # Readable for every user of the container: there is one.
                    "File": {"Name": f"{IN_CONTAINER}/{variable}", "UID": "0", "GID": "0", "Mode": 0o444},
                }
                for variable, (identifier, name) in sorted(secrets.items())
            ],
        },
        "Resources": {
            "Limits": {**_given(limits), **_given({"Pids": chosen.pids_limit})},
            "Reservations": _given(limits),
        },
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": list(chosen.constraints)},
        "Networks": [{"Target": chosen.network}],
        "LogDriver": {"Name": "json-file", "Options": LOG_LIMITS},
    }


def _given(limits: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in limits.items() if value}
