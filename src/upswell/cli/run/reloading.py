"""SIGHUP: read the settings again, have monitor and scaler go on with them; a bad file changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from upswell.broker.declaring import declare_upload_queues
from upswell.errors import UpswellError
from upswell.events import get_logger
from upswell.settings.reloading import reloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker import Broker
    from upswell.settings import Settings

_log = get_logger()


class Reloads(Protocol):
    """A part that can go on with other settings."""

    def reload(self, settings: Settings) -> None:
        """Take over the settings, all or nothing.

        Raises:
            SettingsError: they are invalid for this part.
        """
        ...


class Reloader:
    """Call it at each SIGHUP: `read` reads the settings again, and the parts take them over, in their order.

    At the broker the queues of applications that are new are made.
    """

    def __init__(
        self, broker: Broker, settings: Settings, read: Callable[[], Settings], *parts: Reloads
    ) -> None:
        self._broker = broker
        self._declaring: asyncio.Task[None] | None = None
        self._settings = settings
        self._read = read
        self._parts = parts

    def __call__(self) -> None:
        """Reload, and log what changed, what keeps its value until a restart, or why nothing changed."""
        try:
            found = reloaded(self._settings, self._read())
            for part in self._parts:
                part.reload(found.settings)
        except UpswellError as error:
            _log.error("settings.reload_failed", error=error)
            return
        self._settings = found.settings
        self._declaring = asyncio.create_task(declare_upload_queues(self._broker, found.settings))
        _log.info("settings.reloaded", changed=list(found.changed), needs_restart=list(found.kept))
