"""The extra `cloud`: imported when the first bucket is opened, with a hint where it is not installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.settings import Settings
    from upswell.stores.clients.bucket import Bucket

_NAME = re.compile(r"\A[A-Za-z0-9$][A-Za-z0-9._-]{1,221}\Z")


def open_bucket(scheme: str, name: str, settings: Settings) -> Bucket:
    """Return a bucket; nobody is asked yet.

    Raises:
        SettingsError: the name cannot be a bucket's, the extra is not installed, or settings do not fit.
    """
    if not _NAME.match(name):
        raise SettingsError(
            f"a bucket's name must be 2 to 222 letters, digits, '.', '_' or '-', got {safe(f'{scheme}://{name}')}"
        )
    try:
        from upswell.stores.clients.bucket import Bucket  # noqa: PLC0415 - only who opens one pays for it
    except ImportError as error:
        raise SettingsError(
            f"{scheme}:// needs the extra cloud: pip install 'upswell[cloud]' ({error})"
        ) from error
    return Bucket(scheme, name, settings)
