"""Counts of what a publishing found, sent, skipped and passed over."""

from __future__ import annotations

from collections import Counter
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import UpswellError
from upswell.messages import UploadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.publisher.sources import Candidate
    from upswell.publisher.tree import Note

MOST_NOTES = 20
"""Names passed over that are shown; all are counted."""

FAILURES = frozenset({"unreadable", "refused"})
"""Kinds of notes that make the command fail: something is there and was not sent."""


class Tally:
    """Counts; with `keep`, all requests are kept in an unnamed file, to be verified afterwards."""

    def __init__(self, *, keep: bool = False) -> None:
        self.found = 0
        self.found_bytes = 0
        self.sent = 0
        self.sent_bytes = 0
        self.sizes_known = True
        self.complete = False
        self.notes: Counter[str] = Counter()
        """How many names were passed over, by the kind of their note."""
        self.shown: list[Note] = []
        self._kept = TemporaryFile() if keep else None  # noqa: SIM115 - it goes with the process

    @property
    def skipped(self) -> int:
        """How many were stored already."""
        return self.found - self.sent

    @property
    def skipped_bytes(self) -> int:
        """Their bytes, where known."""
        return self.found_bytes - self.sent_bytes

    @property
    def failed(self) -> bool:
        """Whether something is there that could not be sent."""
        return any(self.notes[kind] for kind in FAILURES)

    def note(self, note: Note) -> None:
        """Count a name that is passed over."""
        self.notes[note.kind] += 1
        if len(self.shown) < MOST_NOTES:
            self.shown.append(note)

    def take(self, candidate: Candidate, *, stored: bool) -> None:
        """Count a candidate, which is sent unless it is `stored`."""
        request = candidate.request
        self.found += 1
        self.found_bytes += request.size_bytes or 0
        if not stored:
            self.sent += 1
            self.sent_bytes += request.size_bytes or 0
            self.sizes_known &= request.size_bytes is not None
        if self._kept is not None:
            try:
                self._kept.write(msgspec.json.encode(request) + b"\n")
            except OSError as error:
                raise UpswellError(
                    f"cannot keep what is to be verified in {gettempdir()}: {error.strerror}"
                ) from error

    def kept(self) -> Iterator[UploadRequest]:
        """Yield all requests again, in order."""
        assert self._kept is not None
        self._kept.seek(0)
        for line in self._kept:
            yield msgspec.json.decode(line, type=UploadRequest)

    def figures(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "found": self.found,
            "found_bytes": self.found_bytes,
            "sent_bytes": self.sent_bytes,
            "skipped": self.skipped,
            "skipped_bytes": self.skipped_bytes,
            "passed_over": dict(self.notes),
        }
