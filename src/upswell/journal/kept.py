"""What an operator set by hand, kept over a restart: one small file beside the journal.

What comes in: an application's order. What goes out: the same, after any crash. It is written before the
order is answered, whole or not at all. Must not know: what an order means.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from upswell.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kept = TypeVar("Kept", bound=msgspec.Struct)


class KeptByApp(Generic[Kept]):
    """A Struct for each application, in a JSON file.

    Args:
        path: the file; made, with its folder, when there is something to keep.
        kind: the Struct.

    Raises:
        JournalError: the file is there and cannot be read.
    """

    def __init__(self, path: Path, kind: type[Kept]) -> None:
        self._path = path
        self._kept: dict[str, Kept] = {}
        try:
            self._kept = msgspec.json.decode(path.read_bytes(), type=dict[str, kind])  # type: ignore[valid-type] - known at run time
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalError(
                f"{path} holds what was set by hand and cannot be read ({error}); remove it to go on without"
            ) from error

    def __iter__(self) -> Iterator[tuple[str, Kept]]:
        """Give (application, what is kept) of each."""
        return iter(list(self._kept.items()))

    def get(self, app_id: str) -> Kept | None:
        """Return what is kept of an application, or None."""
        return self._kept.get(app_id)

    def keep(self, app_id: str, value: Kept | None) -> None:
        """Keep this of an application from now on, None: nothing.

        Raises:
            JournalError: it cannot be written; what was kept before stays.
        """
        if self._kept.get(app_id) == value:
            return
        after = {**self._kept, app_id: value}
        if value is None:
            del after[app_id]
        self._write(after)
        self._kept = after  # type: ignore[assignment] - no value is None

    def _write(self, after: dict[str, Kept | None]) -> None:
        whole = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole.open("wb") as file:
                file.write(msgspec.json.encode(after))
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self._path)
        except OSError as error:
            raise JournalError(f"what is set by hand cannot be kept in {self._path}: {error}") from error
