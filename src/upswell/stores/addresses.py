"""The address of an object: the destination's URL with the key behind it.

What comes in: a destination and a key that was checked. What goes out: `file:///...`, percent-encoded, or the
store's own form, in which a key stands as it is (`s3://bucket/a b.jpg`). Nobody is asked.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

FILE = "file://"


def file_uri(path: str) -> str:
    """Return the `file://` URI of an absolute path, whose bytes need not be UTF-8.

    >>> file_uri("/data/50% off?.jpg")
    'file:///data/50%25%20off%3F.jpg'
    """
    return f"{FILE}{quote(os.fsencode(path))}"


class Addresses:
    """The addresses below one destination.

    >>> Addresses("s3://bucket/photos/").of("a b.jpg"), Addresses("/srv/store").of("a b.jpg")
    ('s3://bucket/photos/a b.jpg', 'file:///srv/store/a%20b.jpg')
    """

    def __init__(self, destination: str) -> None:
        folder = destination.removeprefix(FILE)
        self._is_folder = "://" not in folder
        self._top = (
            file_uri(str(Path(folder).expanduser().absolute())) if self._is_folder else destination
        ).rstrip("/")

    def of(self, key: str) -> str:
        """Return the address of the object under a key."""
        return f"{self._top}/{quote(key) if self._is_folder else key}"
