"""A policy that does what it is told, for tests of what happens to a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot


class Script:
    """Wants what a list says, interval by interval, then its last entry; keeps what it saw."""

    def __init__(self, *wanted: int) -> None:
        self.wanted = wanted
        self.seen: list[Snapshot] = []

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the next wish."""
        self.seen.append(snapshot)
        wish = self.wanted[min(len(self.seen), len(self.wanted)) - 1]
        return Decision.of("script", snapshot.workers.desired, wish, "scripted")
