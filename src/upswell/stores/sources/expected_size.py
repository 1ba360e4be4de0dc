"""A source checked against its request's size: when opened if its size is known, else when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from upswell.errors import TemporaryUploadError

if TYPE_CHECKING:
    from types import TracebackType

    from upswell.stores.protocol import OpenSource


def held_to(source: OpenSource, size: int | None) -> OpenSource:
    """Return a source that has `size` bytes (None: any), or breaks before it is stored.

    Raises:
        TemporaryUploadError: it has another size. Temporary, as a wrong checksum is: its writer may not
            have finished. The delivery limit ends it.
    """
    if size is None:
        return source
    if source.size is None:
        return _Sized(source, size)
    _check(source.size, size)
    return source


class _Sized:
    """Counts what is read, and compares when a store asks whether the source changed: before it stores."""

    size: int | None = None

    def __init__(self, source: OpenSource, expected: int) -> None:
        self._source = source
        self._expected = expected
        self._read = 0
        self.version = source.version

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        self._read += count
        if self._read > self._expected:
            _check(self._read, self._expected)
        return count

    def rewind(self) -> None:
        self._source.rewind()
        self._read = 0

    def check_unchanged(self) -> None:
        _check(self._read, self._expected)
        self._source.check_unchanged()


def _check(size: int, expected: int) -> None:
    if size != expected:
        raise TemporaryUploadError(f"the source has {size} bytes, the request says {expected}")
