"""The one table of fleets: a new one is a file beside this and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.errors import FleetError

if TYPE_CHECKING:
    from upswell.fleets.protocol import Fleet
    from upswell.settings import Settings


def open_fleet(settings: Settings) -> Fleet:
    """Return the fleet that `settings.fleet` names; nothing is asked of it yet.

    Raises:
        FleetError: its client is not installed.
    """
    return _FLEETS[settings.fleet](settings)


def _process(settings: Settings) -> Fleet:
    from upswell.fleets.process import ProcessFleet  # noqa: PLC0415 - each fleet imports its client alone

    return ProcessFleet(settings.state_path)


def _docker(settings: Settings) -> Fleet:
    try:
        from upswell.fleets.docker import DockerFleet  # noqa: PLC0415 - same
    except ImportError as error:
        raise FleetError(
            f"fleet docker needs Docker's Python client: pip install 'upswell[docker]'; got {error}"
        ) from error
    return DockerFleet(settings)


_FLEETS = {"process": _process, "docker": _docker}
