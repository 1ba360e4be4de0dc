"""From the setting `destination` to a store: one table, scheme -> who makes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings
    from upswell.stores.protocol import Store


def _directory(destination: str, settings: Settings) -> Store:
    from upswell.stores.destinations.directory import DirectoryStore  # noqa: PLC0415 - only when one is asked for

    path = Path(destination.removeprefix("file://")).expanduser().absolute()
    try:
        return DirectoryStore(path, on_conflict=settings.on_conflict)
    except OSError as error:
        raise SettingsError(
            f"destination must be a folder that can be written to, got {safe(destination)}: {error.strerror}"
        ) from error


def _bucket(destination: str, settings: Settings) -> Store:
    from upswell.stores.destinations.objects import open_object_store  # noqa: PLC0415 - as above

    return open_object_store(destination, settings)


STORES: dict[str, Callable[[str, Settings], Store]] = {
    "file": _directory,
    "s3": _bucket,
    "gs": _bucket,
    "az": _bucket,
}
"""Scheme -> a function that takes the destination and the settings and returns the store."""


def open_store(settings: Settings) -> Store:
    """Return the store that the setting `destination` names: a folder, or a URL of one of the schemes.

    Raises:
        SettingsError: nobody knows the scheme, or the store cannot be used as the settings say.
    """
    destination = settings.destination_path
    scheme, mark, _rest = destination.partition("://")
    make = STORES.get(scheme.lower() if mark else "file")
    if make is None:
        known = ", ".join(f"{known}://" for known in STORES)
        raise SettingsError(f"destination must be a folder or start with {known}; got {safe(destination)}")
    return make(destination, settings)
