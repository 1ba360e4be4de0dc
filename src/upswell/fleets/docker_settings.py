"""The settings `[fleets.docker]` and `[fleets.swarm]`; no client of Docker is imported for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from upswell.settings import Setting

if TYPE_CHECKING:
    from upswell.settings import Settings

_Network = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\Z")]
_Memory = Annotated[str, Meta(pattern=r"\A(?:[1-9][0-9]{0,12}[kmg]?)?\Z")]
_Cpus = Annotated[float, Meta(ge=0, le=10_000)]
_Pids = Annotated[
    int, Meta(ge=0, le=1_000_000), Setting("Processes and threads that a worker may have; 0: no limit.")
]
_ReadOnly = Annotated[
    bool, Setting("Read-only root file system, with /tmp in memory; false: for handlers that write.")
]
_Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:/@-]{0,200}\Z")]

_MEMORY_FORM = "a number of bytes, or of k, m or g: 512m"
_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}

DEFAULT_IMAGE = "{app_id}_worker_container/dst2018:0.1"


class DockerSettings(Struct, frozen=True):
    """The settings `[fleets.docker]`."""

    image: Annotated[
        str, Setting("Image of the workers; {app_id} is replaced by the application's name.")
    ] = DEFAULT_IMAGE
    network: Annotated[_Network, Setting("Docker network of the workers.", form="the name of a network")] = (
        "host"
    )
    memory: Annotated[
        _Memory, Setting("Memory limit of a worker, such as 512m; empty: none.", form=_MEMORY_FORM)
    ] = ""
    cpus: Annotated[_Cpus, Setting("CPU limit of a worker, in cores; 0: none.")] = 0.0
    pids_limit: _Pids = 512
    read_only: _ReadOnly = True
    tmpfs_dir: Annotated[
        str,
        Setting(
            "Folder in memory (tmpfs) for the workers' secrets. Empty: /run/upswell for root, else the "
            "user's runtime folder, else one in /dev/shm."
        ),
    ] = ""
    installation: Annotated[
        _Name,
        Setting(
            "Label of this installation's containers; empty: its state folder. Scalers that share an engine "
            "and its workers need the same.",
            form="letters, digits and _.:/@-",
        ),
    ] = ""


class SwarmSettings(Struct, frozen=True):
    """The settings `[fleets.swarm]`."""

    image: Annotated[
        str,
        Setting(
            "Image of the workers, built from Upswell's Dockerfile; {app_id} is replaced by the "
            "application's name. Each node pulls it."
        ),
    ] = DEFAULT_IMAGE
    network: Annotated[
        _Network, Setting("Network of the workers: an overlay, or host.", form="the name of a network")
    ] = "host"
    constraints: Annotated[
        list[str],
        Setting("Where workers may run, as `docker service create --constraint` takes it.", separator=","),
    ] = []
    memory: Annotated[
        _Memory,
        Setting("Memory of a worker, reserved and limit, such as 512m; empty: none.", form=_MEMORY_FORM),
    ] = ""
    cpus: Annotated[_Cpus, Setting("CPU of a worker, reserved and limit, in cores; 0: none.")] = 0.0
    pids_limit: _Pids = 512
    read_only: _ReadOnly = True
    stop_grace_seconds: Annotated[
        float,
        Meta(gt=0, le=604_800),
        Setting("How long a worker that Swarm stops may finish its uploads before it is killed, in seconds."),
    ] = 3600.0
    installation: Annotated[
        _Name,
        Setting(
            "Label of this installation's services and secrets; empty: made from the broker's address and "
            "report_queue, so that every scaler of an installation has the same.",
            form="letters, digits and _.:/@-",
        ),
    ] = ""


def docker_settings(settings: Settings, app_id: str) -> DockerSettings:
    """Return the settings of one application's workers, with its image's full name."""
    own = settings.for_app(app_id).own("fleets", "docker", DockerSettings)
    return msgspec.structs.replace(own, image=own.image.replace("{app_id}", app_id))


def swarm_settings(settings: Settings, app_id: str) -> SwarmSettings:
    """Return the settings of one application's workers, with its image's full name."""
    own = settings.for_app(app_id).own("fleets", "swarm", SwarmSettings)
    return msgspec.structs.replace(own, image=own.image.replace("{app_id}", app_id))


def in_bytes(memory: str) -> int:
    """Return a memory limit in bytes; 0: none.

    >>> in_bytes("512m"), in_bytes("")
    (536870912, 0)
    """
    if not memory:
        return 0
    unit = _UNITS.get(memory[-1], 1)
    return int(memory.rstrip("kmg")) * unit
