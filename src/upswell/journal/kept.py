"""What is kept of each application over a restart: one small file beside the journal.

What comes in: an application's Struct, say what an operator set by hand, or the setting that `slo` follows.
What goes out: the same, after any crash. It is written before `keep` returns, whole or not at all. Must not
know: what it means.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from upswell.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Kept = TypeVar("Kept", bound=msgspec.Struct)


class KeptByApp(Generic[Kept]):
    """A Struct for each application, in a JSON file.

    Args:
        path: the file; made, with its folder, when there is something to keep.
        kind: the Struct.
        what: is kept, in a few words, for errors.
    """

    def __init__(self, path: Path, kind: type[Kept], what: str = "what was set by hand") -> None:
        self._path, self._kind, self._what = path, kind, what
        self._kept: dict[str, Kept] = {}
        self.read()

    def read(self) -> None:
        """Read the file again: another process may have written it.

        Raises:
            JournalError: it is there and cannot be read; what was known stays.
        """
        try:
            self._kept = msgspec.json.decode(self._path.read_bytes(), type=dict[str, self._kind])  # type: ignore[name-defined] - known at run time
        except FileNotFoundError:
            self._kept = {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalError(
                f"{self._path} holds {self._what} and cannot be read ({error}); remove it to go on without"
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
        after = {**self._kept}
        if value is None:
            del after[app_id]
        else:
            after[app_id] = value
        self._write(after)

    def keep_all(self, values: Mapping[str, Kept]) -> None:
        """Keep these of several applications, written once; it raises as `keep` does."""
        self._write({**self._kept, **values})

    def _write(self, after: dict[str, Kept]) -> None:
        whole = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole.open("wb") as file:
                file.write(msgspec.json.encode(after))
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self._path)
        except OSError as error:
            raise JournalError(f"{self._what} cannot be kept in {self._path}: {error}") from error
        self._kept = after
