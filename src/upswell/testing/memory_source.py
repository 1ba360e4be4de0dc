"""A source in memory, which can change, end early, or not tell its size."""

from __future__ import annotations

import hashlib
from typing import Self

from upswell.errors import TemporaryUploadError


class MemorySource:
    """`changed`: it was written to meanwhile; `tells_size`: whether its size is known when it is opened."""

    def __init__(self, content: bytes, *, changed: bool = False, tells_size: bool = True) -> None:
        self.content = memoryview(content)
        self.size = len(content) if tells_size else None
        self.version = None
        self.changed = changed
        self.position = 0
        self.bytes_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def readinto(self, buffer: memoryview, /) -> int:
        """Read."""
        part = self.content[self.position : self.position + len(buffer)]
        buffer[: len(part)] = part
        self.position += len(part)
        self.bytes_read += len(part)
        return len(part)

    def rewind(self) -> None:
        """Start again."""
        self.position = 0

    def check_unchanged(self) -> None:
        """Complain, if so made."""
        if self.changed:
            raise TemporaryUploadError("the source changed during its upload")


def checksum(content: bytes) -> str:
    """Return the checksum as messages hold it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
