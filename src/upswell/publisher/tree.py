"""A directory -> the files below it, in the order of their names' bytes.

What comes in: a directory of the person's who publishes, which others may change meanwhile. What goes out:
the files with their sizes, one at a time, and a note of each name that is passed over. Memory is bounded by
`NAMES_IN_MEMORY` and the depth, not by the number of files: the names of a larger directory are sorted in
runs on disk. No file is opened. The only importer of `pathspec`.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Literal

from msgspec import Struct
from pathspec import GitIgnoreSpec

from upswell.errors import UpswellError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES_IN_MEMORY = 100_000
"""So many names of one directory are sorted in memory; about 10 MB."""

Kind = Literal["link", "special", "vanished", "unreadable", "refused"]
"""Why a name is passed over: a symbolic link, no regular file, gone while listing, or an error."""


class File(Struct, frozen=True):
    """A regular file: its absolute path, its name relative to the top, its size and time of change (ns)."""

    path: str
    name: str
    size: int
    mtime_ns: int


class Note(Struct, frozen=True):
    """A name that is passed over, and why."""

    kind: Kind
    path: str
    reason: str


class Selection:
    """Takes what matches an `include` pattern (all, where there is none) and no `exclude` pattern."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Compile the patterns.

        Raises:
            UpswellError: a pattern is invalid.
        """
        self._include = _compile(include)
        self._exclude = _compile(exclude)

    def takes(self, name: str) -> bool:
        """Return whether a file is meant."""
        included = self._include is None or self._include.match_file(name)
        return included and not self.leaves_out(name)

    def leaves_out(self, name: str) -> bool:
        """Return whether a file, or with a slash at its end a directory and all below it, is excluded."""
        return self._exclude is not None and self._exclude.match_file(name)


def _compile(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#"):
            raise UpswellError(f"a pattern must be valid in .gitignore, got {pattern!r}")
    try:
        return GitIgnoreSpec.from_lines(patterns) if patterns else None
    except ValueError as error:
        raise UpswellError(f"a pattern must be valid in .gitignore: {error}") from error


class _Folder(Struct, frozen=True):
    """An open folder of the walk: `prefix` stands before its names; `identity` tells a loop of links."""

    path: bytes
    prefix: bytes
    identity: tuple[int, int]
    names: Iterator[bytes]


class Tree:
    """The files below one directory."""

    def __init__(
        self,
        top: str,
        *,
        selection: Selection | None = None,
        follow_links: bool = False,
        on_note: Callable[[Note], None],
        names_in_memory: int = NAMES_IN_MEMORY,
    ) -> None:
        self._top = os.fsencode(os.path.abspath(top))  # noqa: PTH100 - bytes, as the names are
        self._selection = selection or Selection()
        self._follow_links = follow_links
        self._on_note = on_note
        self._names_in_memory = names_in_memory

    def __iter__(self) -> Iterator[File]:
        """Walk the tree once more.

        Raises:
            OSError: the top itself cannot be read.
        """
        open_folders = [self._open(self._top, b"")]
        while open_folders:
            folder = open_folders[-1]
            name = next(folder.names, None)
            if name is None:
                open_folders.pop()
            elif name.endswith(b"/"):
                below = self._enter(folder, name, open_folders)
                if below is not None:
                    open_folders.append(below)
            else:
                file = self._file(folder, name)
                if file is not None:
                    yield file

    def _open(self, path: bytes, prefix: bytes) -> _Folder:
        status = os.stat(path)  # noqa: PTH116 - bytes
        return _Folder(path, prefix, (status.st_dev, status.st_ino), self._names(path))

    def _enter(self, parent: _Folder, name: bytes, open_folders: list[_Folder]) -> _Folder | None:
        path, prefix = os.path.join(parent.path, name[:-1]), parent.prefix + name  # noqa: PTH118 - bytes
        if self._selection.leaves_out(os.fsdecode(prefix)):
            return None
        try:
            folder = self._open(path, prefix)
        except OSError as error:
            self._note_error(path, error)
            return None
        if any(folder.identity == other.identity for other in open_folders):
            self._note("link", path, "it leads back to a folder that it lies in")
            return None
        return folder

    def _file(self, folder: _Folder, name: bytes) -> File | None:
        path = os.path.join(folder.path, name)  # noqa: PTH118 - bytes
        relative = os.fsdecode(folder.prefix + name)
        if not self._selection.takes(relative):
            return None
        try:
            status = os.stat(path, follow_symlinks=self._follow_links)  # noqa: PTH116 - bytes
            if stat.S_ISLNK(status.st_mode):
                self._note("link", path, "symbolic links are not followed")
                return None
            if not stat.S_ISREG(status.st_mode):
                self._note("special", path, "it is no regular file")
                return None
            # A worker follows no link: it is told where the file really lies.
            real = os.path.realpath(path) if self._follow_links else path
        except OSError as error:
            self._note_error(path, error)
            return None
        return File(os.fsdecode(real), relative, status.st_size, status.st_mtime_ns)

    def _names(self, path: bytes) -> Iterator[bytes]:
        """Return a directory's names, sorted; those of directories have a slash at their end.

        With the slash, the whole walk is in the order of the relative names' bytes, as object stores list.
        """
        names: list[bytes] = []
        runs: list[Iterator[bytes]] = []
        with os.scandir(path) as entries:
            for entry in entries:
                names.append(entry.name + b"/" if self._is_folder(entry) else entry.name)
                if len(names) == self._names_in_memory:
                    runs.append(_spill(sorted(names)))
                    names.clear()
        names.sort()
        return heapq.merge(names, *runs) if runs else iter(names)

    def _is_folder(self, entry: os.DirEntry[bytes]) -> bool:
        try:
            return entry.is_dir(follow_symlinks=self._follow_links)
        except OSError:  # a loop of links, say: looked at as a file, it is noted
            return False

    def _note_error(self, path: bytes, error: OSError) -> None:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        self._note("vanished" if gone else "unreadable", path, error.strerror or str(error))

    def _note(self, kind: Kind, path: bytes, reason: str) -> None:
        self._on_note(Note(kind, os.fsdecode(path), reason))


def _spill(names: list[bytes]) -> Iterator[bytes]:
    """Write sorted names to a file without a name of its own; return them, read back bit by bit."""
    file = TemporaryFile()  # noqa: SIM115 - closed when it is read to its end
    file.write(b"\0".join(names))
    file.seek(0)
    return _read_back(file)


def _read_back(file: BinaryIO) -> Iterator[bytes]:
    with file:
        pending = b""
        while chunk := file.read(65536):
            *names, pending = (pending + chunk).split(b"\0")
            yield from names
        yield pending
