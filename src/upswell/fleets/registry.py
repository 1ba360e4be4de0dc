"""Every fleet. To add one: a file in this folder and an entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.fleets.protocol import Fleet
    from upswell.settings import Settings

REGISTRY: Registry[Callable[[Settings], Fleet]] = Registry(
    "fleet",
    "upswell.fleets",
    [
        Entry(
            name="process",
            factory="upswell.fleets.process:open_process_fleet",
            summary="processes on this machine",
        ),
        Entry(
            name="docker",
            factory="upswell.fleets.docker:DockerFleet",
            settings="upswell.fleets.docker_settings:DockerSettings",
            check="upswell.fleets.docker:check_engine",
            extra="docker",
            summary="containers on a Docker engine",
        ),
        Entry(
            name="swarm",
            factory="upswell.fleets.swarm:SwarmFleet",
            settings="upswell.fleets.docker_settings:SwarmSettings",
            check="upswell.fleets.swarm:check_swarm",
            extra="docker",
            summary="services on a Docker Swarm",
        ),
        Entry(
            name="kubernetes",
            factory="upswell.fleets.kubernetes.fleet:KubernetesFleet",
            settings="upswell.fleets.kubernetes.settings:KubernetesSettings",
            check="upswell.fleets.kubernetes.fleet:check_cluster",
            extra="kubernetes",
            summary="pods on a Kubernetes cluster",
        ),
    ],
)


def open_fleet(settings: Settings) -> Fleet:
    """Return the fleet of `settings.fleet`; it is not contacted yet.

    Raises:
        SettingsError: the fleet is unknown, or its extra is not installed.
    """
    return REGISTRY.load(settings.fleet)(settings)


async def check_fleet(settings: Settings) -> str:
    """Return what `upswell doctor` reports: that the fleet answers, and the result of its entry's check.

    Raises:
        UpswellError: it is unusable; the message says what to do.
    """
    fleet = open_fleet(settings)
    try:
        count = len(await fleet.list())
    finally:
        await fleet.close()
    check = REGISTRY.check(settings.fleet)
    more = await check(settings) if check is not None else ""
    workers = f"{count} worker" if count == 1 else f"{count} workers"
    return f"{settings.fleet} answers, {workers}{', ' if more else ''}{more}"
