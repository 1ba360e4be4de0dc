"""Sources that are objects in a bucket: `s3://`, `gs://` and `az://` URIs below the allowed prefixes.

What comes in: a URI from a message, hostile. What goes out: an open object, or an UploadError. The worker
reads with credentials of its own, so only what lies below one of `source_stores` is opened: else whoever
may publish could read whatever the worker may.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.requests import split_key
from upswell.safe import safe
from upswell.stores.clients.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from upswell.settings import Settings


class ObjectSource:
    """An open object: its size in bytes and its ETag when it was opened, and its bytes as they come."""

    def __init__(self, bucket: Bucket, key: str, shown: str) -> None:
        """Ask for the object.

        Raises:
            FileNotFoundError: there is none.
            UploadError: the store does not give it.
        """
        self._bucket = bucket
        self._key = key
        self._shown = shown
        answer, self._chunks = bucket.read(key)
        self.size = answer.size
        self.version = answer.etag
        self._left: memoryview = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunks: Iterator[bytes | memoryview] = iter(())  # ends the download

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into `buffer`; return the number of bytes, 0 at the end."""
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), self._left.nbytes)
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def rewind(self) -> None:
        """Start again at the first byte, of the same object.

        Raises:
            TemporaryUploadError: it is another by now.
        """
        try:
            _answer, self._chunks = self._bucket.read(self._key, etag=self.version)
        except FileNotFoundError:
            raise self._changed("gone") from None
        self._left = memoryview(b"")

    def check_unchanged(self) -> None:
        """Raise a TemporaryUploadError when another object is there now."""
        now = self._bucket.stat(self._key)
        if now is None or (now.size, now.etag) != (self.size, self.version):
            raise self._changed("gone" if now is None else f"{now.size} bytes, ETag {now.etag}")

    def _changed(self, now: str) -> TemporaryUploadError:
        return TemporaryUploadError(
            f"the source changed during its upload: {self._shown}: {self.size} bytes, ETag "
            f"{self.version} at the start, {now} at the end"
        )


def opener(settings: Settings) -> Callable[[str], ObjectSource]:
    """Return what opens a URI of an object, as the settings allow."""
    allowed = [prefix.rstrip("/") for prefix in settings.source_stores]
    buckets: dict[tuple[str, str], Bucket] = {}
    lock = threading.Lock()

    def open_object(uri: str) -> ObjectSource:
        scheme, name, key = _split(uri)
        address = f"{scheme}://{name}/{key}"
        if not any(address == prefix or address.startswith(f"{prefix}/") for prefix in allowed):
            raise PermanentUploadError(
                f"the source is not below source_stores ({', '.join(allowed) or 'empty'}): {safe(uri)}"
            )
        with lock:
            bucket = buckets.get((scheme, name))
            if bucket is None:
                bucket = buckets[scheme, name] = Bucket(scheme, name, settings)
        try:
            return ObjectSource(bucket, key, safe(uri))
        except FileNotFoundError:
            raise PermanentUploadError(f"the source does not exist: {safe(uri)}") from None

    return open_object


def _split(uri: str) -> tuple[str, str, str]:
    """Return a URI's scheme, bucket and key; the key is taken as it stands, as the vendors' tools do."""
    scheme, mark, rest = uri.partition("://")
    name, _, key = rest.partition("/")
    if not mark:
        raise PermanentUploadError(f"an object's URI must have the form scheme://bucket/key, got {safe(uri)}")
    split_key(key)
    return scheme.lower(), name, key
