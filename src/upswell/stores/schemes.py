"""Files and web servers as schemes; buckets are in `destinations/objects.py`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from upswell.errors import SettingsError, TemporaryUploadError
from upswell.safe import safe

if TYPE_CHECKING:
    from typing import NoReturn

    from upswell.settings import Settings
    from upswell.stores.protocol import Opener, Store


class FileScheme:
    """Files below `source_roots`; a folder as a destination."""

    def opener(self, settings: Settings) -> Opener:
        """Return what opens a `file://` URI."""
        from upswell.stores.sources.files import open_file  # noqa: PLC0415 - only when one is asked for

        roots = [Path(root).expanduser().absolute() for root in settings.source_roots]
        return lambda uri: open_file(uri, roots)

    def store(self, destination: str, settings: Settings) -> Store:
        """Return the folder as a store; it is made where it is missing."""
        from upswell.stores.destinations.directory import DirectoryStore  # noqa: PLC0415 - as above

        try:
            return DirectoryStore(_folder(destination), on_conflict=settings.on_conflict)
        except OSError as error:
            raise SettingsError(
                f"destination must be a writable folder, got {safe(destination)}: {error.strerror}"
            ) from error


class WebScheme:
    """URLs of `source_origins`."""

    def opener(self, settings: Settings) -> Opener:
        """Return what opens a URL."""
        from upswell.stores.sources.http import http_opener  # noqa: PLC0415 - as above

        return http_opener(settings)

    def store(self, destination: str, settings: Settings) -> NoReturn:
        """Refuse: nothing is uploaded to a web server."""
        del settings
        raise SettingsError(f"a web server cannot be a destination, got {safe(destination)}")

    check_destination = store


def check_folder(settings: Settings) -> str:
    """Write, read and delete a small object in the destination's folder; return what was done.

    A folder that is not there yet is not made: the nearest above it is tried.

    Raises:
        SettingsError: it is no folder that can be written to.
        UploadError: it cannot be used now.
    """
    folder = _folder(settings.destination_path)
    there = next(one for one in (folder, *folder.parents) if one.exists())
    name = f".upswell-doctor-{secrets.token_hex(8)}"
    body = name.encode()
    try:
        probe = there / name
        try:
            probe.write_bytes(body)
            found = probe.read_bytes()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"destination must be a writable folder, got {safe(str(folder))}: {error.strerror}"
        ) from error
    if found != body:
        raise TemporaryUploadError(f"{safe(str(there))} gave other bytes than were written")
    where = "" if there == folder else f" in {there}, where the destination will be made"
    return f"wrote, read and deleted a file{where}"


def check_web(settings: Settings) -> str:
    """Return that the settings of web sources are valid; no request is sent.

    Raises:
        SettingsError: they don't.
    """
    WebScheme().opener(settings)
    return f"allowed: {', '.join(settings.source_origins) or 'none'}"


def _folder(destination: str) -> Path:
    return Path(destination.removeprefix("file://")).expanduser().absolute()
