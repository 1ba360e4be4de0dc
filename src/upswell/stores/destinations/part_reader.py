"""A source read part by part, each byte once: digests taken and the rate kept on the way.

What comes in: an open source. What goes out: its parts as buffers, and at the end the length and the
checksums of all that was read. It does not know where the parts go.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from upswell.errors import TemporaryUploadError
from upswell.stores.protocol import StoredObject
from upswell.stores.rate_limit import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from upswell.stores.protocol import OpenSource

MIN_PART_BYTES = 5 * 1024 * 1024
"""S3 takes no smaller part, but for the last."""

MAX_PARTS = 10_000
"""S3 takes no more parts; Azure 50,000."""

_MIB = 1024 * 1024


def part_size(size: int | None, usual: int) -> int:
    """Return the bytes of each part: `usual`, or what 10,000 parts need for a larger object, in whole MiB.

    An object of unknown size gets parts four times as large, so that it may reach 320 GiB.

    >>> part_size(10 * 1024**3, 8 * 1024**2) // 1024**2, part_size(1024**4, 8 * 1024**2) // 1024**2
    (8, 105)
    """
    usual = max(usual, MIN_PART_BYTES)
    if size is None:
        return 4 * usual
    return max(usual, -(-size // MAX_PARTS // _MIB) * _MIB)


class PartReader:
    """One pass over a source; `stored` is the length and SHA-256 of what was read so far.

    `md5` says whether MD5 sums are taken as well: the store's ETag is compared with them.
    """

    def __init__(
        self, source: OpenSource, *, part_bytes: int, pace: Callable[[int], None], chunk_bytes: int, md5: bool
    ) -> None:
        self._source = source
        self._part_bytes = part_bytes
        self._pace = pace
        self._chunk_bytes = min(chunk_bytes, MAX_CHUNK_BYTES)
        self._sha256 = hashlib.sha256()
        self._length = 0
        self._announced = 0  # to `pace`, and not read yet
        self.takes_md5 = md5
        self._md5_sums: list[bytes] = []
        self._ahead: list[memoryview] = []
        self.is_at_end = False

    @property
    def stored(self) -> StoredObject:
        """The length and checksum of all parts together."""
        return StoredObject(self._length, f"sha256:{self._sha256.hexdigest()}")

    def has_etag(self, etag: str | None) -> bool:
        """Return whether an ETag is what S3 gives these bytes: their MD5 sum, or that of the parts' sums."""
        if etag is None or not self._md5_sums:
            return False
        if len(self._md5_sums) == 1 and etag == self._md5_sums[0].hex():
            return True
        whole = hashlib.md5(b"".join(self._md5_sums), usedforsecurity=False)
        return etag == f"{whole.hexdigest()}-{len(self._md5_sums)}"

    def first(self) -> memoryview:
        """Read the first part and return it; `rest` begins with it all the same."""
        part = self._next()
        self._ahead.append(part)
        return part

    def _next(self) -> memoryview:
        """Return the next part: full, unless it is the last; empty when there is none."""
        size = self._source.size
        wanted = self._part_bytes if size is None else min(self._part_bytes, size - self._length)
        part = memoryview(bytearray(wanted))
        md5 = hashlib.md5(usedforsecurity=False) if self.takes_md5 else None
        filled = 0
        while filled < wanted:
            chunk = part[filled : filled + self._chunk_bytes]
            # A source on the web, or in a bucket, often gives less than asked for: the rest was announced.
            self._pace(max(0, len(chunk) - self._announced))
            self._announced = max(self._announced, len(chunk))
            count = self._source.readinto(chunk)
            self._announced -= count
            if not count:
                self.is_at_end = True
                break
            chunk = chunk[:count]
            self._sha256.update(chunk)
            if md5 is not None:
                md5.update(chunk)
            filled += count
        self._length += filled
        if self._length == size:  # that it grew meanwhile, `check_unchanged` notices
            self.is_at_end = True
        if md5 is not None and (filled or not self._md5_sums):
            self._md5_sums.append(md5.digest())
        return part[:filled]

    def rest(self) -> Generator[memoryview]:
        """Yield the parts that were not yielded yet, none of which is kept here.

        Raises:
            UploadError: the source's, or that of `pace`.
        """
        while self._ahead or not self.is_at_end:
            part = self._ahead.pop() if self._ahead else self._next()
            if len(part):
                yield part
            del part  # else it stayed in memory until the next one is read

    def check(self, checksum: str | None) -> StoredObject:
        """Return what was read, when it is what was promised.

        Raises:
            TemporaryUploadError: the source changed or ended early, or has another checksum than the request.
        """
        return check_read(self._source, self.stored, checksum)


def check_read(source: OpenSource, read: StoredObject, checksum: str | None) -> StoredObject:
    """Return what was read of a source, when it is what was promised.

    Raises:
        TemporaryUploadError: the source changed or ended early, or has another checksum than the request.
    """
    source.check_unchanged()
    if source.size not in {None, read.bytes}:
        raise TemporaryUploadError(
            f"the source had {source.size} bytes when it was opened, read {read.bytes}"
        )
    if checksum not in {None, read.checksum}:
        raise TemporaryUploadError(f"the source has checksum {read.checksum}, the request says {checksum}")
    return read


def digest_of(
    readinto: Callable[[memoryview], int | None],
    each: Callable[[memoryview], None] = lambda _chunk: None,
    chunk_bytes: int = MAX_CHUNK_BYTES,
) -> StoredObject:
    """Read to the end, hand `each` chunk on, and return the length and checksum of it all."""
    buffer = memoryview(bytearray(chunk_bytes))
    digest = hashlib.sha256()
    length = 0
    while count := readinto(buffer):
        chunk = buffer[:count]
        each(chunk)
        digest.update(chunk)
        length += count
    return StoredObject(length, f"sha256:{digest.hexdigest()}")
