"""From a URI to an open source: one table, scheme -> who opens it.

What comes in: a URI from a message, hostile. What goes out: an open `Source`, or an UploadError that says
the rule and the value. A module that opens a scheme is imported when the first such URI comes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings
    from upswell.stores.protocol import OpenSource

    Opener = Callable[[str], OpenSource]


def _files(settings: Settings) -> Opener:
    from upswell.stores.sources.files import open_file  # noqa: PLC0415 - only when one is asked for

    roots = [Path(root).expanduser().absolute() for root in settings.source_roots]
    return lambda uri: open_file(uri, roots)


def _web(settings: Settings) -> Opener:
    from upswell.stores.sources.http import http_opener  # noqa: PLC0415 - as above

    return http_opener(settings)


def _objects(settings: Settings) -> Opener:
    from upswell.stores.sources.objects import opener  # noqa: PLC0415 - as above

    return opener(settings)


OPENERS: dict[str, Callable[[Settings], Opener]] = {
    "file": _files,
    "s3": _objects,
    "gs": _objects,
    "az": _objects,
    "http": _web,
    "https": _web,
}
"""Scheme -> a function that takes the settings and returns what opens a URI of that scheme."""


class SourceOpener:
    """Opens sources as the settings allow; one for all uploads of a worker."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings.

        Raises:
            SettingsError: an origin or a network that http sources may come from is none.
        """
        if settings.source_origins:
            _web(settings)  # so that a wrong one is told at the start, not at the first such URI
        self._settings = settings
        self._openers: dict[str, Opener] = {}

    def open(self, uri: str) -> OpenSource:
        """Return the open source behind a URI.

        Raises:
            PermanentUploadError: a scheme that nobody opens, or what the settings do not allow.
            TemporaryUploadError: it cannot be opened now.
        """
        scheme = uri.partition(":")[0].lower()
        opener = self._openers.get(scheme)
        if opener is None:
            make = OPENERS.get(scheme)
            if make is None:
                known = ", ".join(OPENERS)
                raise PermanentUploadError(
                    f"a source must be a URI of one of these schemes: {known}; got {safe(uri)}"
                )
            opener = self._openers[scheme] = make(self._settings)
        return opener(uri)
