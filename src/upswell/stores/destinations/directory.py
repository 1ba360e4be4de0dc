"""A folder as an object store.

What comes in: a key and a source of bytes. What goes out: the object under its key, whole, verified and on
disk, or not there at all. It must not know what a request is.

An object is written to the private folder first, synced, read back, and then renamed to its key, which
replaces what was there, or linked to it where `on_conflict` says that nothing may be replaced. One that is
there already with the same bytes is left alone, so an upload done twice writes once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from io import FileIO
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.events import get_logger
from upswell.requests import PRIVATE, split_key
from upswell.safe import safe
from upswell.stores.destinations.part_reader import check_read, digest_of
from upswell.stores.folders import descend
from upswell.stores.protocol import StoredObject, conflict, unpaced
from upswell.stores.rate_limit import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from upswell.stores.protocol import OnConflict, OpenSource

_log = get_logger()

LEFTOVER_SECONDS = 60.0
"""A file in the private folder that is older and locked by nobody was left by a worker that was killed."""

_PERMANENT = {
    errno.ENOTDIR: "an object's key must not lead through another object",
    errno.EISDIR: "an object's key must not be the folder of other objects",
    errno.ENOTEMPTY: "an object's key must not be the folder of other objects",
    errno.ELOOP: "an object's key must not lead through a symbolic link in the store",
    errno.ENAMETOOLONG: "an object's key must not be longer than the store's file system allows",
}


class DirectoryStore:
    """A folder of objects; several workers may write to it at once, from several machines too."""

    def __init__(
        self, root: Path, *, on_conflict: OnConflict = "overwrite", now: float | None = None
    ) -> None:
        """Open the store, make it where it is missing, and sweep out what killed workers left behind.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        self._on_conflict = on_conflict
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(FileExistsError):
            os.mkdir(PRIVATE, dir_fd=self._root)
        self._private = os.open(
            PRIVATE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root
        )
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
        self._sweep(time.time() if now is None else now)

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
        """Store a source's bytes under `key`; return when they are on disk and verified.

        See `protocol.Store.put`. What an earlier attempt left is swept out when the store is opened, whether
        it is this upload's or not, so `again` changes nothing.
        """
        del again
        *folders, name = split_key(key)
        try:
            with descend(self._root, folders, create=True) as folder:
                stored = self._same(folder, name, source, checksum, pace) or self._kept(folder, name, key)
                if stored is None:
                    stored = self._write(
                        folder, name, source, checksum=checksum, pace=pace, chunk_bytes=chunk_bytes
                    )
                os.fsync(folder)
                return stored
        except OSError as error:
            raise _upload_error(error, key) from error

    def head(self, key: str) -> StoredObject | None:
        """Return an object's length (its checksum would have to be computed: see `digest`), or None."""
        return self._look(key, lambda file: StoredObject(os.fstat(file.fileno()).st_size, None))

    def digest(self, key: str) -> StoredObject | None:
        """Read an object and return its length and checksum, or None."""
        return self._look(key, lambda file: digest_of(file.readinto))

    def _look(self, key: str, how: Callable[[FileIO], StoredObject]) -> StoredObject | None:
        *folders, name = split_key(key)
        try:
            with descend(self._root, folders) as folder, _regular(folder, name) as file:
                return None if file is None else how(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _upload_error(error, key) from error

    def _same(
        self,
        folder: int,
        name: str,
        source: OpenSource,
        checksum: str | None,
        pace: Callable[[int], None],
    ) -> StoredObject | None:
        """Return the object that is there, when it has the source's bytes already."""

        def look(_chunk: memoryview) -> None:
            pace(0)  # nothing is moved, but it can be stopped

        with _regular(folder, name) as there:
            if there is None or source.size not in {None, os.fstat(there.fileno()).st_size}:
                return None
            found = digest_of(there.readinto, look)
        if checksum is not None:
            return found if found.checksum == checksum else None
        if digest_of(source.readinto, look) == found:
            source.check_unchanged()
            return found
        source.rewind()
        return None

    def _kept(self, folder: int, name: str, key: str) -> StoredObject | None:
        """Return what is there and must stay, though it has other bytes; None: the way is free."""
        if self._on_conflict == "overwrite":
            return None
        with _regular(folder, name) as there:
            if there is None:
                return None
            if self._on_conflict == "fail":
                raise conflict(key)
            return digest_of(there.readinto)

    def _write(
        self,
        folder: int,
        name: str,
        source: OpenSource,
        *,
        checksum: str | None,
        pace: Callable[[int], None],
        chunk_bytes: int,
    ) -> StoredObject:
        with self._temporary() as (temporary, descriptor):
            written = check_read(source, _copy(source, descriptor, pace, chunk_bytes), checksum)
            os.fsync(descriptor)
            self._verify(descriptor, written)
            self._publish(temporary, folder, name)
        return written

    def _publish(self, temporary: str, folder: int, name: str) -> None:
        if self._on_conflict == "overwrite":
            os.replace(temporary, name, src_dir_fd=self._private, dst_dir_fd=folder)
            return
        try:  # unlike a rename, a new link replaces nothing
            os.link(temporary, name, src_dir_fd=self._private, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise TemporaryUploadError(
                "another upload stored an object under the same key at the same time"
            ) from None

    @contextmanager
    def _temporary(self) -> Generator[tuple[str, int]]:
        """Yield the name and descriptor of a new file in the private folder, locked while written."""
        name = secrets.token_hex(16)
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=self._private
        )
        try:
            with suppress(OSError):  # a file system without locks: age alone decides there
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield name, descriptor
        finally:
            with suppress(FileNotFoundError):  # renamed: the good end
                os.unlink(name, dir_fd=self._private)
            os.close(descriptor)

    @staticmethod
    def _verify(descriptor: int, written: StoredObject) -> None:
        """Read an object back, from the disk where the system lets us, and compare."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.lseek(descriptor, 0, os.SEEK_SET)

        found = digest_of(lambda buffer: os.readv(descriptor, [buffer]))
        if found != written:
            raise TemporaryUploadError(
                f"read back {found.bytes} bytes with {found.checksum}, "
                f"wrote {written.bytes} with {written.checksum}"
            )

    def _sweep(self, now: float) -> None:
        """Delete what killed workers left: their lock died with them."""
        for name in os.listdir(self._private):  # noqa: PTH208 - a descriptor, no path
            with suppress(OSError):
                age = now - os.stat(name, dir_fd=self._private, follow_symlinks=False).st_mtime
                if age > LEFTOVER_SECONDS and not self._locked(name):
                    os.unlink(name, dir_fd=self._private)
                    _log.info("store.leftover_removed", name=name, age_seconds=round(age))

    def _locked(self, name: str) -> bool:
        descriptor = os.open(
            name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._private
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextmanager
def _regular(folder: int, name: str) -> Generator[FileIO | None]:
    """Yield the open file `name`, or None where there is none; a link is replaced, never followed."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP}:
            raise
        yield None
        return
    with FileIO(descriptor) as file:
        yield file if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _copy(source: OpenSource, target: int, pace: Callable[[int], None], chunk_bytes: int) -> StoredObject:
    def write(chunk: memoryview) -> None:
        pace(len(chunk))
        while chunk:
            chunk = chunk[os.write(target, chunk) :]

    return digest_of(
        source.readinto, write, chunk_bytes if source.size is None else min(chunk_bytes, source.size + 1)
    )


def _upload_error(error: OSError, key: str) -> PermanentUploadError | TemporaryUploadError:
    shown = safe(key)
    rule = _PERMANENT.get(error.errno or 0)
    if rule is not None:
        return PermanentUploadError(f"{rule}, got {shown}")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TemporaryUploadError(f"the store's disk is full: cannot store {shown}")
    return TemporaryUploadError(f"cannot store {shown}: {error.strerror or error}")
