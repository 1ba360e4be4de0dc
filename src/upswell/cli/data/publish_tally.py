"""What `publish` found, sent, skipped and passed over: counted as it goes, told at the end."""

from __future__ import annotations

from collections import Counter
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.text import counted, size
from upswell.messages import UploadRequest
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.publisher.sources import Candidate
    from upswell.publisher.tree import Note

MOST_NOTES = 20
"""Names passed over that are shown; all are counted."""

FAILURES = frozenset({"unreadable", "refused"})
"""Kinds of notes that make the command fail: something is there and was not sent."""

_EXPLAINED = {
    "link": "symbolic links",
    "special": "special files",
    "vanished": "vanished while listing",
    "unreadable": "unreadable",
    "refused": "names that cannot be keys",
}


class Tally:
    """Counts; with `keep`, all requests are kept in a file without a name, to be verified afterwards."""

    def __init__(self, *, keep: bool = False) -> None:
        self.found = 0
        self.found_bytes = 0
        self.sent = 0
        self.sent_bytes = 0
        self.sizes_known = True
        self.complete = False
        self.notes: Counter[str] = Counter()
        self._shown: list[Note] = []
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
        if len(self._shown) < MOST_NOTES:
            self._shown.append(note)

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
            self._kept.write(msgspec.json.encode(request) + b"\n")

    def kept(self) -> Iterator[UploadRequest]:
        """Yield all requests again, in order."""
        assert self._kept is not None
        self._kept.seek(0)
        for line in self._kept:
            yield msgspec.json.decode(line, type=UploadRequest)

    def warn(self) -> None:
        """Print what was passed over, on standard error."""
        for note in self._shown:
            click.echo(f"passed over {safe(note.path)}: {safe(note.reason)}", err=True)
        more = self.notes.total() - len(self._shown)
        if more:
            click.echo(f"passed over {counted(more, 'name')} more", err=True)

    def lines(self, *, sent: str = "sent") -> list[str]:
        """Return the summary of what was found: nothing where all of it was a person's own requests.

        `sent` says of what is not stored yet whether it was sent.
        """
        lines: list[str] = []
        if self.found != self.sent or self.found_bytes:
            lines.append(
                f"found {counted(self.found, 'file')} ({size(self.found_bytes)}), "
                f"{sent} {self.sent:,} ({size(self.sent_bytes)}), "
                f"skipped {self.skipped:,} ({size(self.skipped_bytes)}) that are stored already"
            )
        if self.notes:
            kinds = ", ".join(
                f"{self.notes[kind]:,} {text}" for kind, text in _EXPLAINED.items() if self.notes[kind]
            )
            lines.append(f"passed over: {kinds}")
        return lines

    def figures(self) -> dict[str, Any]:
        """Return the same as numbers."""
        return {
            "found": self.found,
            "found_bytes": self.found_bytes,
            "sent_bytes": self.sent_bytes,
            "skipped": self.skipped,
            "skipped_bytes": self.skipped_bytes,
            "passed_over": dict(self.notes),
        }
