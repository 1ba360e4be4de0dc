"""The workers' secrets where the engine is on this machine: a folder in memory for each worker.

In: a worker's secret variables. Out: a folder to mount read-only, a file for each. It does not know Docker.
Nothing of it is on a disk, and `docker inspect` shows the folder's name only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from upswell.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from collections.abc import Set as AbstractSet

IN_CONTAINER = "/run/upswell/secrets"
"""Where a worker finds them: its `UPSWELL_SECRETS`."""

YOUNG_SECONDS = 300.0
"""A start takes no longer."""

_IN_MEMORY = ("tmpfs", "ramfs")


class SecretsInMemory:
    """The folders of one installation's workers.

    Args:
        chosen: the setting `tmpfs_dir`; empty: the first folder in memory that this user may write.
        installation: keeps two installations apart.
    """

    def __init__(self, chosen: str, installation: str) -> None:
        self._chosen = chosen
        self._name = "".join(c if c.isalnum() else "_" for c in installation)[-200:]

    def make_folder(self, worker_id: str, owner: tuple[int, int]) -> Path:
        """Return a worker's folder, made where it is missing, for its user alone.

        Raises:
            FleetError: there is no folder in memory, or it cannot be written.
        """
        folder = self._folder() / worker_id
        with _named(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _give(folder, owner)
        return folder

    def write(self, worker_id: str, secrets: Mapping[str, str], owner: tuple[int, int]) -> None:
        """Write a worker's secrets into its folder, readable for its user alone; what is there stays.

        To be called once there is a container that will be removed, and its secrets with it: those of a
        start that was broken off before would lie there.

        Raises:
            FleetError: the folder cannot be written.
        """
        folder = self._folder() / worker_id
        with _named(folder):
            for name, value in secrets.items():
                with contextlib.suppress(FileExistsError):
                    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(value.encode("utf-8", "surrogateescape"))
                    _give(folder / name, owner)

    def remove(self, worker_id: str) -> None:
        """Remove a worker's secrets."""
        if (base := self._base()) is not None:
            shutil.rmtree(base / self._name / worker_id, ignore_errors=True)
            with contextlib.suppress(OSError):
                (base / self._name).rmdir()  # where it was the last one's

    def prune(self, known: AbstractSet[str]) -> None:
        """Remove the secrets of workers that there are no more; one that is young may be starting."""
        if (base := self._base()) is not None:
            for entry in (base / self._name).glob("*"):
                if entry.name not in known and _age(entry) > YOUNG_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)

    def _folder(self) -> Path:
        base = self._base()
        if base is None:
            raise FleetError(
                "no folder in memory (tmpfs) for the workers' secrets, such as /run/upswell: "
                "set fleets.docker.tmpfs_dir"
            )
        # A worker's own folder is its user's alone; nobody may list who else there is.
        for folder in (base, base / self._name):
            with _named(folder):
                folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        if not in_memory(base):
            raise FleetError(f"the workers' secrets must be in memory (tmpfs), and {base} is on a disk")
        return base / self._name

    def _base(self) -> Path | None:
        if self._chosen:
            return Path(self._chosen)
        user = os.getuid()
        candidates = [Path("/run/upswell")] if user == 0 else [Path(f"/run/user/{user}/upswell")]
        candidates.append(Path(f"/dev/shm/upswell-{user}"))  # noqa: S108 - its folder is this user's alone
        return next((path for path in candidates if path.parent.is_dir() and in_memory(path.parent)), None)


def in_memory(path: Path) -> bool:
    """Return whether a folder is in memory, as the kernel's table of mounts says."""
    try:
        device = path.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    mounts = [line.partition(" - ") for line in lines]
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(at.split()[2] == number and what.split()[0] in _IN_MEMORY for at, _, what in mounts)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def _named(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise FleetError(f"cannot write the workers' secrets in {folder}: {error.strerror}") from error


def _give(path: Path, owner: tuple[int, int]) -> None:
    if os.getuid() == 0:
        os.chown(path, *owner)
