"""Which folders a worker in a container must share with its host, and as whom it must run to use them.

What comes in: settings of one application. What goes out: folders, each at the same path inside as outside,
so that the settings mean the same in both. It must not know Docker.
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

    The embedded broker is a file: containers reach it where its folder is shared and the kernel is the same
    (its write-ahead log is mapped into memory by all who use it), thus on this machine alone.
    """
    writable: list[Path] = []
    if settings.broker == "embedded":
        writable.append(settings.state_path)
    destination = settings.destination_path.removeprefix("file://")
    if "://" not in destination:
        writable.append(Path(absolute_folder(destination)))
    # A folder inside another is there already; Docker would mount it twice.
    outermost = [
        p for p in dict.fromkeys(writable) if not any(p != o and p.is_relative_to(o) for o in writable)
    ]
    roots = dict.fromkeys(Path(absolute_folder(root)) for root in settings.source_roots)
    return [Mount(str(path), read_only=False) for path in outermost] + [
        Mount(str(root), read_only=True) for root in roots if root not in outermost
    ]
