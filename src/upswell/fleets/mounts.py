"""The folders that a worker in a container shares with its host.

In: settings of one application. Out: folders, mounted at the same path, so that settings mean the same on
both sides. It does not know Docker.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.fleets.environment import absolute_folder

if TYPE_CHECKING:
    from upswell.settings import Settings


class Mount(Struct, frozen=True):
    """A folder, at the same absolute path on the host and in the container."""

    path: str
    read_only: bool


def mounts(settings: Settings) -> list[Mount]:
    """Return the folders that one application's workers need: embedded broker, store, sources.

    The embedded broker is a file with a memory-mapped write-ahead log, so containers can use it only on the
    same machine and kernel, with its folder mounted.
    """
    writable: list[Path] = []
    if settings.broker == "embedded":
        writable.append(settings.state_path)
    destination = settings.destination_path.removeprefix("file://")
    if "://" not in destination:
        writable.append(Path(absolute_folder(destination)))
    # A folder inside another one is mounted with it.
    outermost = [
        p for p in dict.fromkeys(writable) if not any(p != o and p.is_relative_to(o) for o in writable)
    ]
    roots = dict.fromkeys(Path(absolute_folder(root)) for root in settings.source_roots)
    return [Mount(str(path), read_only=False) for path in outermost] + [
        Mount(str(root), read_only=True) for root in roots if root not in outermost
    ]
