"""Going down a tree by directory descriptors, so that no symbolic link leads out of it.

What comes in: a descriptor of the top and the names below it. What goes out: a descriptor of the last folder.
Each name is opened in its open parent, never as a path, so nobody can swap a folder for a link in between.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

Top = TypeVar("Top", bound=int | None)

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def descend(top: Top, names: Sequence[str], *, create: bool = False) -> Generator[Top | int]:
    """Yield a descriptor of the folder `names` below `top`; with `create`, make what is missing, durably.

    Where `top` is None the first name is a path. Where there are no names, `top` itself is yielded.

    Raises:
        OSError: ELOOP where a name is a symbolic link, else what the system says.
    """
    current: Top | int = top
    try:
        for name in names:
            below = _open(current, name, create=create)
            if current is not None and current != top:
                os.close(current)
            current = below
        yield current
    finally:
        if current is not None and current != top:
            os.close(current)


def _open(parent: int | None, name: str, *, create: bool) -> int:
    # O_PATH needs no right to read a folder, only to pass through; but fsync refuses it.
    flags = _FOLDER | (os.O_RDONLY if create else os.O_PATH)
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    except NotADirectoryError:
        refuse_link(parent, name)
        raise
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:  # another worker was faster
        pass
    else:
        if parent is not None:
            os.fsync(parent)
    return os.open(name, flags, dir_fd=parent)


def refuse_link(parent: int | None, name: str) -> os.stat_result:
    """Return the status of `name` itself.

    Raises:
        OSError: ELOOP when it is a symbolic link, else what the system says.
    """
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return status
