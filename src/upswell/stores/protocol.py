"""What a source and a store promise; `tests/contract/test_store.py` holds every store to each sentence here.

Everything here blocks and is called from a thread of the upload's own, so that one upload reads from top to
bottom: open the source, put it, report what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from upswell.errors import PermanentUploadError
from upswell.safe import safe
from upswell.stores.rate_limit import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


OnConflict = Literal["overwrite", "skip", "fail"]


class StoredObject(Struct, frozen=True):
    """An object's length and checksum (`sha256:` and 64 hex digits; None: unknown)."""

    bytes: int
    checksum: str | None


def unpaced(_count: int) -> None:
    """Let the next bytes pass at once."""


def conflict(key: str) -> PermanentUploadError:
    """Return the error of an upload whose key belongs to other bytes, where the settings say `fail`."""
    return PermanentUploadError(f"on_conflict is fail, and {safe(key)} already exists with different content")


class OpenSource(Protocol):
    """What an object is made from, open; closed at the end of its `with`.

    `size` is in bytes (None: unknown). `version` differs when the content does (a file's time of last
    writing, an object's ETag; None: unknown). A file also has its `mode`: a folder of objects lets nobody
    read the object who may not read the file.
    """

    @property
    def size(self) -> int | None: ...  # noqa: D102 - see above

    @property
    def version(self) -> str | None: ...  # noqa: D102 - see above

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into `buffer`, not necessarily filling it; return the number of bytes, 0 only at the end.

        Raises:
            TemporaryUploadError: it cannot be read on, or ended before its size.
            PermanentUploadError: it turned out to be one that may not be read (too large, for one).
        """
        ...

    def rewind(self) -> None:
        """Start again at the first byte."""
        ...

    def check_unchanged(self) -> None:
        """Raise a TemporaryUploadError when the source changed since it was opened; asked when it is read."""
        ...


Opener = Callable[[str], OpenSource]
"""Opens a URI, hostile, as the settings allow."""


class Store(Protocol):
    """Where objects are kept, each whole and verified, or not there at all. Used by many threads at once."""

    def put(
        self,
        key: str,
        source: OpenSource,
        *,
        checksum: str | None = None,
        again: bool = False,
        pace: Callable[[int], None] = unpaced,
        chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> StoredObject:
        """Store a source's bytes under `key`; return when they are safe and verified.

        An object that is there already with the same bytes is left alone, so an upload done twice writes
        once; one with other bytes is replaced, kept or refused, as the setting `on_conflict` says.

        Args:
            key: see `requests.split_key`.
            source: read from its first byte to its end, sometimes twice.
            checksum: what the bytes must have, else nothing is stored.
            again: an attempt at this upload was made before, and may have left parts behind.
            pace: called before each chunk with its length.
            chunk_bytes: how much passes between two calls of `pace`.

        Raises:
            PermanentUploadError: no further attempt can succeed.
            StoreUnavailableError: the store cannot be reached or takes nothing now, whoever asks.
            TemporaryUploadError: anything else: the next attempt may succeed.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """Return what is there under `key` without reading it, or None."""
        ...

    def digest(self, key: str) -> StoredObject | None:
        """Read what is there under `key` and return its length and checksum, or None."""
        ...
