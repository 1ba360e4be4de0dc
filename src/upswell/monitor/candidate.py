"""One of several monitors: waits to lead, leads, and when that is over waits again, as a new monitor.

What comes in: how to make a monitor. What goes out: its heartbeat, and all that a monitor does. It must not
know what a monitor observes.

A monitor that may have missed reports because another one led begins from nothing, as one that was started
anew: it starts from what runs, and for one window it only adds workers (decision 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.journal import JournalEntry
    from upswell.messages import PartStatus
    from upswell.monitor.loop import Monitor
    from upswell.settings import Settings


class MonitorCandidate:
    """Runs one monitor after the other.

    Args:
        make: returns a new monitor, under these settings.
        settings: of the first.
    """

    def __init__(self, make: Callable[[Settings], Monitor], settings: Settings) -> None:
        self._make = make
        self._settings = settings
        self._monitor = make(settings)
        self._taken_before = self._refused_before = 0
        self.on_round: Callable[[list[JournalEntry]], None] | None = None
        """Called with the entries of each round, as `Monitor.on_round`."""

    @property
    def reports_taken_in(self) -> int:
        """Reports received since the start, duplicates included."""
        return self._taken_before + self._monitor.reports_taken_in

    @property
    def messages_refused(self) -> int:
        """Invalid messages since the start."""
        return self._refused_before + self._monitor.messages_refused

    def part_status(self) -> PartStatus:
        """Return the heartbeat of this moment."""
        return self._monitor.pulse.status()

    async def run(self) -> None:
        """Be a monitor until cancelled, or until an operator orders it to stop.

        Raises:
            BrokerError: a queue cannot be used.
        """
        self._monitor.on_round = self.on_round
        while not await self._monitor.run():
            self._taken_before, self._refused_before = self.reports_taken_in, self.messages_refused
            if self.on_round is not None:
                self.on_round([])  # it leads no more: what it saw last is not how things are
            self._monitor = self._make(self._settings)
            self._monitor.on_round = self.on_round

    def reload(self, settings: Settings) -> None:
        """Go on with other settings.

        Raises:
            SettingsError: they are invalid; then nothing has changed.
        """
        self._monitor.reload(settings)
        self._settings = settings
