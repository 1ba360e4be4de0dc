"""What a handler may use: the source, the store, progress, and whether to stop.

What comes in: a request and the worker's workplace. What goes out: open sources, stored objects. Everything
here blocks: a plain function calls it as it is, an async one through `in_thread`. It knows nothing of queues.
"""

from __future__ import annotations

import io
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar

from upswell.errors import SettingsError, StoreUnavailableError, TemporaryUploadError
from upswell.handlers.protocol import MOVED, MovedBytes, Stored
from upswell.stores.addresses import Addresses
from upswell.stores.rate_limit import RateLimit
from upswell.stores.registry import SourceOpener, open_store
from upswell.stores.sources.expected_size import held_to

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from upswell.handlers.threads import Threads
    from upswell.messages import UploadRequest
    from upswell.settings import Settings
    from upswell.stores.protocol import OpenSource, Store

BUFFER_BYTES = 256 * 1024

T = TypeVar("T")


class Workplace:
    """What all uploads of a worker share: sources, the store (opened when first used), the rate limit."""

    def __init__(self, settings: Settings, threads: Threads, limit: RateLimit | None = None) -> None:
        self.sources = SourceOpener(settings)
        self.addresses = Addresses(settings.destination_path)
        self.limit = limit or RateLimit(settings.upload_rate_limit)
        self.threads = threads
        self.upload_timeout = settings.upload_timeout
        self._settings = settings
        self._store: Store | None = None
        self._opening = threading.Lock()

    @property
    def store(self) -> Store:
        """The store that the setting `destination` names.

        Raises:
            StoreUnavailableError: it cannot be used as the settings say, which is no upload's fault.
        """
        with self._opening:
            if self._store is None:
                try:
                    self._store = open_store(self._settings)
                except SettingsError as error:
                    raise StoreUnavailableError(str(error)) from error
            return self._store


class Context:
    """One call of a handler: its request, and what it may do about it. Over when the handler returns."""

    def __init__(
        self,
        request: UploadRequest,
        workplace: Workplace,
        *,
        on_bytes: Callable[[int], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = request
        self._workplace = workplace
        self._on_bytes = on_bytes
        self._moved = MOVED.get() or MovedBytes()
        self._monotonic = monotonic
        self._deadline = monotonic() + workplace.upload_timeout
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether to give up: the time limit was reached, or the worker leaves."""
        return self._stopped.is_set()

    @property
    def seconds_left(self) -> float:
        """Seconds until `upload_timeout`; below zero after it."""
        return self._deadline - self._monotonic()

    def check(self) -> None:
        """Raise a TemporaryUploadError when it is time to give up; call it in long loops."""
        if self._stopped.is_set():
            raise TemporaryUploadError("the upload was stopped")

    def progress(self, count: int) -> None:
        """Tell that `count` more bytes are done; waits where `upload_rate_limit` asks for it.

        Raises:
            TemporaryUploadError: it is time to give up.
        """
        self._moved.count += count
        delay = self._workplace.limit.reserve(count)
        if self._stopped.wait(delay) if delay else self._stopped.is_set():
            raise TemporaryUploadError("the upload was stopped")
        if self._on_bytes is not None:
            self._on_bytes(count)

    @contextmanager
    def open_source(self, uri: str | None = None) -> Generator[SourceFile]:
        """Give the open source behind the request's URI (or another), as a file to read from once.

        Reading counts as progress. At the end of the `with`, a source that changed meanwhile is an error.

        Raises:
            PermanentUploadError: the settings do not allow it, or it is not there.
            TemporaryUploadError: it cannot be read now, changed, has another size than the request says, or
                it is time to give up.
        """
        wanted = self.request.size_bytes if uri is None else None
        with self._workplace.sources.open(uri or self.request.uri) as source:
            if source.size is not None:
                held_to(source, wanted)
            with SourceFile(source, self.progress) as file:
                yield file
            source.check_unchanged()

    def store(self, data: bytes | BinaryIO, key: str | None = None) -> Stored:
        """Store bytes, or a seekable file from its start, in the `destination` under `key`; return the proof.

        `key` is the request's own where none is given. The same bytes stored again change nothing, so a
        handler may be called twice.

        Raises:
            PermanentUploadError: the key is invalid, or belongs to other bytes that the settings keep.
            TemporaryUploadError: the store cannot take it now, or it is time to give up.
        """
        chosen = key if key is not None else self.request.key
        assert chosen is not None  # a worker fills it in
        limit = self._workplace.limit
        with _Made(io.BytesIO(data) if isinstance(data, bytes) else data) as source:
            stored = self._workplace.store.put(
                chosen, source, pace=lambda _count: self.check(), chunk_bytes=limit.chunk_bytes
            )
        return Stored(chosen, stored.bytes, stored.checksum, self._workplace.addresses.of(chosen))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what a blocking function returns, run in a thread; for async handlers."""
        return await self._workplace.threads.call(function, stop=self.stop)

    def stop(self) -> None:
        """Have `check`, `progress` and every read raise from now on."""
        self._stopped.set()


class SourceFile(io.BufferedReader):
    """A source as a binary file: to be read once, from its start. `size` is in bytes, None: not told."""

    def __init__(self, source: OpenSource, progress: Callable[[int], None]) -> None:
        super().__init__(_Raw(source, progress), BUFFER_BYTES)
        self.size = source.size


class _Raw(io.RawIOBase):
    def __init__(self, source: OpenSource, progress: Callable[[int], None]) -> None:
        super().__init__()
        self._source = source
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] - io's own stub says WriteableBuffer
        count = self._source.readinto(buffer)
        self._progress(count)
        return count


class _Made:
    """Bytes that a handler made, as a source for the store; the file is the handler's to close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0, os.SEEK_END)
        self.size: int | None = file.tell()
        self.version: str | None = None
        file.seek(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into `buffer`; return the number of bytes, 0 at the end."""
        chunk = self._file.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def rewind(self) -> None:
        """Start again at the first byte."""
        self._file.seek(0)

    def check_unchanged(self) -> None:
        """Trust the handler not to write while it stores."""
