"""A worker's container, as the engine's API is told: what it may and may not do. Pure.

In: a worker, its settings, what it shares with its host. Out: the API's JSON. It asks no engine. An image
that is not ours keeps its own command, user and file system: its author knows what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upswell.fleets.docker_settings import in_bytes
from upswell.fleets.secrets_in_memory import IN_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upswell.fleets.docker_settings import DockerSettings
    from upswell.fleets.mounts import Mount
    from upswell.fleets.protocol import WorkerSpec

TMPFS_OPTIONS = "rw,nosuid,nodev,mode=1777,size=256m"
LOG_LIMITS = {"max-size": "5m", "max-file": "2"}


def arguments(worker: WorkerSpec) -> list[str]:
    """Return what follows `upswell` on a worker's command line: its application's name, never a secret."""
    return ["worker", "--app", worker.app_id, *(["--standby"] if worker.standby else [])]


def container_options(
    worker: WorkerSpec,
    chosen: DockerSettings,
    *,
    own: bool,
    environment: Mapping[str, str],
    labels: Mapping[str, str],
    mounts: Sequence[Mount],
    secrets_folder: str | None,
    user: str | None,
    state_path: str,
    fed: bool,
) -> dict[str, Any]:
    """Return the body of `POST /containers/create`.

    `own`: its image was built from our Dockerfile; no variable is secret then. `secrets_folder`: on the host.
    `user`: `uid:gid`; None: the image's. `state_path`: a worker may write there, in memory unless it is
    shared. `fed`: it reads its secrets from its input.
    """
    shared = [
        {"Type": "bind", "Source": mount.path, "Target": mount.path, "ReadOnly": mount.read_only}
        for mount in mounts
    ]
    if secrets_folder is not None:
        shared.append({"Type": "bind", "Source": secrets_folder, "Target": IN_CONTAINER, "ReadOnly": True})
    in_memory = {} if any(mount.path == state_path for mount in mounts) else {state_path: TMPFS_OPTIONS}
    limits = {
        "PidsLimit": chosen.pids_limit or None,
        "Memory": in_bytes(chosen.memory) or None,
        "NanoCpus": int(chosen.cpus * 1e9) or None,
    }
    confined = {
        "ReadonlyRootfs": chosen.read_only,
        "Tmpfs": {"/tmp": TMPFS_OPTIONS, **in_memory} if chosen.read_only else {},  # noqa: S108 - in the container
        "CapDrop": ["ALL"],
    }
    options = {
        "Image": chosen.image,
        "Cmd": arguments(worker) if own else None,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(labels),
        "User": user,
        **({"OpenStdin": True, "StdinOnce": True, "AttachStdin": True} if fed else {}),
        "HostConfig": {
            "NetworkMode": chosen.network,
            "Mounts": shared,
            "Init": True,
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": LOG_LIMITS},
            **{name: value for name, value in limits.items() if value is not None},
            **(confined if own else {}),
        },
    }
    return {name: value for name, value in options.items() if value is not None}
