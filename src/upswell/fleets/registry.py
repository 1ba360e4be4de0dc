"""Every fleet: what a worker runs as. A new one is a file beside this and an entry here."""

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
            summary="processes of this machine",
        ),
        Entry(
            name="docker",
            factory="upswell.fleets.docker:DockerFleet",
            settings="upswell.fleets.docker:DockerSettings",
            check="upswell.fleets.docker:check_images",
            extra="docker",
            summary="containers of a Docker engine",
        ),
    ],
)


def open_fleet(settings: Settings) -> Fleet:
    """Return the fleet that `settings.fleet` names; nothing is asked of it yet.

    Raises:
        SettingsError: there is no such fleet, or its extra is not installed.
    """
    return REGISTRY.load(settings.fleet)(settings)


async def check_fleet(settings: Settings) -> str:
    """Return what `upswell doctor` says of the fleet: it answers, and whatever its entry checks.

    Raises:
        UpswellError: it cannot be used; the message says what to do.
    """
    fleet = open_fleet(settings)
    try:
        count = len(await fleet.list())
    finally:
        await fleet.close()
    check = REGISTRY.check(settings.fleet)
    more = await check(settings) if check is not None else ""
    return f"{settings.fleet} answers, {count} workers{', ' if more else ''}{more}"
