"""Sources that are files: `file://` URIs below the allowed roots.

What comes in: a URI from a message, hostile. What goes out: an open regular file, or an UploadError that says
the rule and the value. No symbolic link below a root is followed, and neither a FIFO nor a device is ever
opened.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import unquote

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.safe import safe
from upswell.stores.folders import descend, refuse_link

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

_RULES = {
    errno.ENOENT: "the source does not exist",
    errno.ENOTDIR: "the source's path leads through a file",
    errno.ELOOP: "the source is behind a symbolic link",
    errno.EACCES: "the worker may not read the source",
    errno.EPERM: "the worker may not read the source",
    errno.ENAMETOOLONG: "the source's path is too long for the file system",
    errno.EINVAL: "the source's path is invalid in the file system",
}
"""Errors that are permanent; all other system errors are temporary."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileSource:
    """An open file: its size in bytes and its version when it was opened, and its bytes.

    Its version is another one when the file was written to, or is another.
    """

    def __init__(self, descriptor: int, opened: os.stat_result, uri: str) -> None:
        """Take an open descriptor and its status; close it at the end of the `with`."""
        self._descriptor = descriptor
        self._opened = opened
        self._uri = uri
        self.size = opened.st_size
        self.version = f"{opened.st_ino:x}-{opened.st_mtime_ns:x}"
        self.mode = opened.st_mode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, -1  # closed once: its number is another's next
        if descriptor >= 0:
            os.close(descriptor)

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`; return the number of bytes, 0 at the end.

        Raises:
            TemporaryUploadError: the system cannot read on.
        """
        try:
            return os.readv(self._descriptor, [buffer])
        except OSError as error:
            raise TemporaryUploadError(f"cannot read {safe(self._uri)}: {error.strerror}") from error

    def rewind(self) -> None:
        """Start again at the first byte."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)

    def check_unchanged(self) -> None:
        """Raise a TemporaryUploadError when the file was written to since it was opened."""
        now = os.fstat(self._descriptor)
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise TemporaryUploadError(
                f"the source changed during its upload: {safe(self._uri)}: {self._opened.st_size} "
                f"bytes at the start, {now.st_size} at the end, last written at {now.st_mtime:.3f}"
            )


def open_file(uri: str, roots: Sequence[Path]) -> FileSource:
    """Return the open file behind a `file://` URI.

    Raises:
        PermanentUploadError: another kind of URI, outside `roots`, missing, not a regular file, or through a
            link.
        TemporaryUploadError: the system cannot open it now.
    """
    path = _path(uri)
    if not roots:
        raise PermanentUploadError(
            "source_roots is empty, so no files can be read: set it to the folders of the sources; "
            f"got {safe(uri)}"
        )
    try:
        root, names = _below(path, roots, uri)
        # The first name is opened by its path: links on the way to a root are the settings' own.
        *folders, name = f"{root}/{names[0]}", *names[1:]
        with descend(None, folders) as folder:
            return _open_regular(folder, name, uri)
    except OSError as error:
        rule = _RULES.get(error.errno or 0)
        if rule is None:
            raise TemporaryUploadError(f"cannot open {safe(uri)}: {error.strerror}") from error
        raise PermanentUploadError(f"{rule}: {safe(uri)}") from error


def _path(uri: str) -> str:
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "file":
        raise PermanentUploadError(f"upload sources must be file:// URIs, got {safe(uri)}")
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in {"", "localhost"}:
            raise PermanentUploadError(f"a file:// URI must not name another host, got {safe(uri)}")
        rest = slash + rest
    if "?" in rest or "#" in rest:
        raise PermanentUploadError(
            f"a file:// URI must have '?' and '#' percent-encoded (%3F, %23), got {safe(uri)}"
        )
    # Names are bytes on this system: what is no UTF-8 comes through as os.fsdecode would have it.
    path = unquote(rest, errors="surrogateescape")
    if "\0" in path or not path.startswith("/"):
        raise PermanentUploadError(f"a file:// URI must have an absolute path without NUL, got {safe(uri)}")
    return path


def _below(path: str, roots: Sequence[Path], uri: str) -> tuple[Path, list[str]]:
    """Return the root that `path` lies below, and the names from there; `..` is refused, not resolved."""
    names = [name for name in path.split("/") if name not in {"", "."}]
    if ".." not in names:
        for resolved in (False, True):  # resolving a root is expensive, and seldom needed
            for root in roots:
                top = root.resolve() if resolved else root
                depth = len(top.parts) - 1
                if len(names) > depth and tuple(names[:depth]) == top.parts[1:]:
                    return top, names[depth:]
    allowed = ", ".join(str(root) for root in roots)
    raise PermanentUploadError(f"the source is not below source_roots ({allowed}): {safe(uri)}")


def _open_regular(folder: int | None, name: str, uri: str) -> FileSource:
    # Looked at before it is opened, because opening a device can already have an effect; and once more when
    # it is open, because it may have been swapped. O_NONBLOCK: a FIFO put in its place hangs no worker.
    _check_regular(refuse_link(folder, name), uri)
    descriptor = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder
    )
    try:
        opened = os.fstat(descriptor)
        _check_regular(opened, uri)
    except PermanentUploadError:
        os.close(descriptor)
        raise
    return FileSource(descriptor, opened, uri)


def _check_regular(status: os.stat_result, uri: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise PermanentUploadError(f"a source must be a regular file, got {kind}: {safe(uri)}")
