"""The captions of a lecture: what happens, in words that a class understands at first sight.

In: phases, snapshots and decisions, as they come. Out: captions on the page's stage.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from upswell.analysis.sentence import headline, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.dashboard.lecture import Lecture
    from upswell.workload.arrivals import Phase

_PHASES = {
    "quiet": "Few uploads come. Watch the response time: it stays far below the objective.",
    "burst": "Many come at once. First the queue grows, then the response time, then the workers.",
    "calm": "The burst is over. Workers that are not needed any more finish their uploads and leave.",
}
_OUT = "More work waits than these workers can do in time."
_IN = "Less work comes than these workers can do."


class Captions:
    """Tells each event once; `titles`, what people call each application, only where there are several."""

    def __init__(
        self, lecture: Lecture, titles: dict[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        self._lecture = lecture
        self._titles = titles if len(titles) > 1 else {}
        self._clock = clock
        self._late: dict[str, bool] = {}
        self._starting: dict[str, int] = {}

    def phase(self, phase: Phase) -> None:
        """Tell that a phase begins."""
        title = f"{phase.name.capitalize()}: {phase.rate:g} uploads a second"
        self._lecture.say(self._clock(), title, _PHASES.get(phase.name, ""))

    def end(self) -> None:
        """Tell that the story is over."""
        self._lecture.say(self._clock(), "The end", "Step back through what happened, or ask below what if.")
        self._lecture.over = True

    def see(self, snapshot: Snapshot, decision: Decision) -> None:
        """Tell what is new in a round."""
        self._objective(snapshot)
        self._started(snapshot)
        if decision.desired_workers != decision.before:
            why = told(next(step for step in decision.steps if step.before != step.after))
            plain = _OUT if decision.desired_workers > decision.before else _IN
            self._say(snapshot, headline(decision).capitalize(), f"{plain} The policy says: {why}.")

    def _objective(self, snapshot: Snapshot) -> None:
        if snapshot.attainment is None:
            return
        late, before = snapshot.misses, self._late.get(snapshot.app_id, False)
        self._late[snapshot.app_id] = late
        within = f"{snapshot.attainment:.0%} within {snapshot.slo.seconds:g} s"
        if late and not before:
            wanted = f"{snapshot.slo.share:.0%} are wanted"
            self._say(snapshot, "The objective is missed", f"{within} in the last seconds; {wanted}.")
        elif before and not late:
            self._say(snapshot, "In time again", f"{within}: the queue is worked off.")

    def _started(self, snapshot: Snapshot) -> None:
        before = self._starting.get(snapshot.app_id, 0)
        now = self._starting[snapshot.app_id] = snapshot.workers.starting
        if now < before and snapshot.start_delay is not None:
            ready = snapshot.workers.ready
            text = f"A worker takes {snapshot.start_delay:.1f} s to start. Until then only the others work."
            self._say(snapshot, f"{ready} {'worker is' if ready == 1 else 'workers are'} ready", text)

    def _say(self, snapshot: Snapshot, title: str, text: str) -> None:
        name = self._titles.get(snapshot.app_id, "")
        self._lecture.say(self._clock(), f"{name}: {title}" if name else title, text, snapshot.app_id)
