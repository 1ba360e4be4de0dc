"""A folder as an object store.

What comes in: a key and a source of bytes. What goes out: the object under its key, whole, verified and on
disk, or not there at all. It does not know what a request is.

An object is written to the private folder first, synced, read back, and then renamed to its key, which
replaces what was there, or linked to it where `on_conflict` says that nothing may be replaced. One that is
there already with the same bytes is left alone, so an upload done twice writes once.

A folder that is away (removed, unmounted), or a disk that is full, is no upload's fault: an outage, as that
of an object store. A folder that was made again or mounted again is opened again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from contextlib import contextmanager, suppress
from io import FileIO
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
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


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_AWAY = frozenset(
    {errno.EHOSTDOWN, errno.ENODEV, errno.ENOTCONN, errno.ENXIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT}
)
"""What a file system says that is gone or was mounted read-only, whichever file is asked for."""


class _OpenFolder:
    """The store's folder and the private one in it, open for as long as somebody uses them."""

    root = private = -1

    def __init__(self, path: Path) -> None:
        """Open both; the private one is made where it is missing."""
        self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(FileExistsError):
            os.mkdir(PRIVATE, dir_fd=self.root)
        self.private = os.open(
            PRIVATE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.root
        )
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        self.identity = _identity(os.fstat(self.root)), _identity(os.fstat(self.private))

    def __del__(self) -> None:
        for descriptor in (self.private, self.root):
            if descriptor >= 0:
                os.close(descriptor)

    def is_again_at(self, root: tuple[int, int], private: tuple[int, int] | None) -> bool:
        """Return whether what is at the path now is this folder mounted again, or one made again beside it.

        A folder on another file system with other inodes is most likely what lies below a mount that is away.
        """
        (device, inode), (_, private_inode) = self.identity
        same_inodes = root[1] == inode and private is not None and private[1] == private_inode
        return root[0] == device or same_inodes


class DirectoryStore:
    """A folder of objects; several workers may write to it at once, from several machines too."""

    def __init__(self, root: Path, *, on_conflict: OnConflict = "overwrite") -> None:
        """Open the store, make it where it is missing, and sweep out what killed workers left behind.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        self._on_conflict = on_conflict
        self._path = root
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        self._open = _OpenFolder(root)
        self._sweep(self._open.private)

    def _folder(self) -> _OpenFolder:
        """Return the open folder; open it again if it was made again or mounted again meanwhile.

        Raises:
            StoreUnavailableError: it is not there.
        """
        path = self._path
        with self._lock:
            try:
                status = path.stat()
                if not status.st_nlink:  # a container sees the folder that was mounted, removed or not
                    raise FileNotFoundError(errno.ENOENT, "it was removed; start the container again")
                root, private = _identity(status), _private_of(path)
                if (root, private) == self._open.identity:
                    return self._open
                if not self._open.is_again_at(root, private):
                    raise StoreUnavailableError(
                        f"the destination {path} is on another file system than before: is it mounted? "
                        "(if this is its new one, restart the worker)"
                    )
                self._open = _OpenFolder(path)
            except OSError as error:
                raise StoreUnavailableError(
                    f"the destination {path} is not there: {error.strerror or error}"
                ) from error
        _log.info("store.folder_reopened", folder=str(path))
        return self._open

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
        opened = self._folder()
        try:
            with descend(opened.root, folders, create=True) as folder:
                stored = self._same(folder, name, source, checksum, pace) or self._kept(folder, name, key)
                if stored is None:
                    stored = self._write(
                        opened, folder, name, source, checksum=checksum, pace=pace, chunk_bytes=chunk_bytes
                    )
                os.fsync(folder)
                return stored
        except OSError as error:
            raise self._upload_error(error, key) from error

    def head(self, key: str) -> StoredObject | None:
        """Return an object's length (its checksum would have to be computed: see `digest`), or None."""
        return self._look(key, lambda file: StoredObject(os.fstat(file.fileno()).st_size, None))

    def digest(self, key: str) -> StoredObject | None:
        """Read an object and return its length and checksum, or None."""
        return self._look(key, lambda file: digest_of(file.readinto))

    def _look(self, key: str, how: Callable[[FileIO], StoredObject]) -> StoredObject | None:
        *folders, name = split_key(key)
        opened = self._folder()
        try:
            with descend(opened.root, folders) as folder, _regular(folder, name) as file:
                return None if file is None else how(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._upload_error(error, key) from error

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
        opened: _OpenFolder,
        folder: int,
        name: str,
        source: OpenSource,
        *,
        checksum: str | None,
        pace: Callable[[int], None],
        chunk_bytes: int,
    ) -> StoredObject:
        self._check_free(opened, source.size or 0)
        with self._temporary(opened.private, _mode(source)) as (temporary, descriptor):
            written = check_read(source, _copy(source, descriptor, pace, chunk_bytes), checksum)
            os.fsync(descriptor)
            self._verify(descriptor, written)
            self._publish(opened.private, temporary, folder, name)
        return written

    def _check_free(self, opened: _OpenFolder, size: int) -> None:
        """Raise a StoreUnavailableError where `size` bytes do not fit, before any is written."""
        disk = os.fstatvfs(opened.root)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and size > free:
            raise self._full(f"{free:,} bytes are free, {size:,} are needed")

    def _full(self, why: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"the disk of the destination {self._path} is full: {why}")

    def _publish(self, private: int, temporary: str, folder: int, name: str) -> None:
        if self._on_conflict == "overwrite":
            os.replace(temporary, name, src_dir_fd=private, dst_dir_fd=folder)
            return
        try:  # unlike a rename, a new link replaces nothing
            os.link(temporary, name, src_dir_fd=private, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise TemporaryUploadError(
                "another upload stored an object under the same key at the same time"
            ) from None

    @contextmanager
    def _temporary(self, private: int, mode: int) -> Generator[tuple[str, int]]:
        """Yield the name and descriptor of a new file in the private folder, locked while written."""
        name = secrets.token_hex(16)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, mode, dir_fd=private)
        except OSError as error:  # no upload can be written, whatever its key
            if error.errno in _FULL:
                raise
            raise StoreUnavailableError(
                f"cannot write to the destination {self._path}: {error.strerror}"
            ) from error
        try:
            with suppress(OSError):  # a file system without locks: age alone decides there
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield name, descriptor
        finally:
            with suppress(OSError):  # renamed: the good end; or it is swept out later, once it is not locked
                os.unlink(name, dir_fd=private)
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

    @staticmethod
    def _sweep(private: int) -> None:
        """Delete what killed workers left: their lock died with them."""
        for name in os.listdir(private):
            with suppress(OSError):
                age = time.time() - os.stat(name, dir_fd=private, follow_symlinks=False).st_mtime
                if age > LEFTOVER_SECONDS and not _locked(private, name):
                    os.unlink(name, dir_fd=private)
                    _log.info("store.leftover_removed", name=name, age_seconds=round(age))

    def _upload_error(self, error: OSError, key: str) -> PermanentUploadError | TemporaryUploadError:
        shown = safe(key)
        rule = _PERMANENT.get(error.errno or 0)
        if rule is not None:
            return PermanentUploadError(f"{rule}, got {shown}")
        if error.errno in _FULL:
            return self._full(f"cannot store {shown}")
        if error.errno in _AWAY:
            return StoreUnavailableError(f"the destination {self._path} is not there: {error.strerror}")
        return TemporaryUploadError(f"cannot store {shown}: {error.strerror or error}")


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells a folder from another of the same name."""
    return status.st_dev, status.st_ino


def _private_of(path: Path) -> tuple[int, int] | None:
    """Return the identity of the private folder below `path`; None where there is none."""
    try:
        return _identity((path / PRIVATE).lstat())
    except FileNotFoundError:
        return None


def _mode(source: OpenSource) -> int:
    """Return a new object's mode, which the umask narrows: no wider than its source's."""
    return 0o600 | (getattr(source, "mode", 0o666) & 0o066)


def _locked(private: int, name: str) -> bool:
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=private)
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
