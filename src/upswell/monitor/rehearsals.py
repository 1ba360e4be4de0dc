"""The rehearsals of all applications, beside the loop, within a share of one core.

What comes in: what each `slo` policy decided from. What goes out: settings to follow, each with its reason.
No decision waits for one: it uses the newest there is. Rehearsing is done in one thread; all that is public
here is called in the loop's. Where the share does not reach, applications with the most traffic come first,
the others by turns. Where there are more applications than may be rehearsed, the busiest are. It does not
know brokers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import JournalError
from upswell.events import get_logger
from upswell.journal import KeptByApp
from upswell.monitor.history import histories, rounds
from upswell.policies.slo.staffing import StaffingSetting
from upswell.simulator.application_rehearsal import TRAFFIC_ROUNDS, ApplicationRehearsal, has_uploads
from upswell.simulator.rehearsal import shadow_fleets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import JournalReader
    from upswell.monitor.applications import Applications
    from upswell.monitor.history import History
    from upswell.policies.slo.slo import Signals, SloPolicy
    from upswell.settings import Settings
    from upswell.simulator.application_rehearsal import SettingChoice

_log = get_logger()

CPU_SHARE = 0.1
"""Of one core, for all applications together."""
BUSIEST_SHARE = 0.75
"""Of that, for those with the most traffic; the rest is for all by turns."""
MOST_REHEARSED = 1000
"""Applications rehearsed, at most: each takes 60 to 100 kB."""
_MOST_ROUNDS_SAVED = 5
_DAY = 86_400.0
_BUSIER = 2.0
"""An application takes the place of the least busy one where it is so many times as busy: a choice takes a
while, so places are not changed for little."""
_SEAT_ROUNDS = 100
"""Applications between two looks at who has a place."""
_KEEP_ROUNDS = 5
"""Pieces of work between two writings of what was chosen."""


class KeptChoice(Struct, frozen=True):
    """The setting that an application's policy follows, and for which objective it was chosen."""

    slo: str
    setting: StaffingSetting
    why: str


def kept_choices(state: Path) -> KeptByApp[KeptChoice] | None:
    """Return the choices that an earlier monitor made; None where their file cannot be read."""
    try:
        return KeptByApp(state / "monitor.choices.json", KeptChoice, "what was chosen in rehearsal")
    except JournalError as error:
        _log.warning("rehearsal.not_kept", error=error)
        return None


class Rehearsals:
    """All rehearsals.

    Args:
        interval: seconds between two rounds.
        clock: seconds of CPU time that the thread which asks has used.
        executor: runs the work, one piece at a time; default: a thread of its own.
        share: of one core that may be used.
        kept: where choices outlive this monitor; None: they do not.
    """

    def __init__(
        self,
        interval: float,
        *,
        clock: Callable[[], float] = time.thread_time,
        executor: Executor | None = None,
        share: float = CPU_SHARE,
        kept: KeptByApp[KeptChoice] | None = None,
    ) -> None:
        self._clock = clock
        self._executor = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="rehearsal")
        self._a_round = share * interval
        self._credit = 0.0
        self._turn = 0
        self._stages: dict[str, ApplicationRehearsal] = {}
        self._policies: dict[str, SloPolicy] = {}
        self._objectives: dict[str, str] = {}
        self._pasts: dict[str, History] = {}
        self._noted: deque[tuple[ApplicationRehearsal, Snapshot, Signals]] = deque()
        """Not yet handed to the stages, which copy what they need of it."""
        self._handing = threading.Lock()
        self._choices: deque[tuple[ApplicationRehearsal, SettingChoice]] = deque()
        self._working: Future[None] | None = None
        self._reading: Future[None] | None = None
        """The past, while it is read: an application takes its place only after that."""
        self._prepared = False
        self._kept = kept
        self._kept_fails = False
        self._fresh: dict[str, KeptChoice] = {}
        """Choices that are not written yet."""
        self._pieces = 0
        self._outside: dict[str, float] = {}
        """Recent uploads a round of applications that have no place."""
        self._looks = 0
        self._least: ApplicationRehearsal | None = None
        """Who has the least traffic of those with a place; None until the next look."""

    def __len__(self) -> int:
        """Return how many applications are rehearsed."""
        return len(self._stages)

    def recollect(self, journal: JournalReader, now: float) -> None:
        """Begin with the last day's reports of a journal."""
        self._working = self._reading = self._executor.submit(self._read, journal, now - _DAY)

    def note(self, policy: SloPolicy, settings: Settings, snapshot: Snapshot) -> None:
        """Take in what a policy has just decided from."""
        app_id, signals = snapshot.app_id, policy.signals
        if signals is None:
            return
        stage = self._stages.get(app_id)
        if stage is None:
            if self._reading is not None:
                if not self._reading.done():  # one that failed is done, too
                    return
                self._reading = None
            past = self._pasts.pop(app_id, None)
            seen = past or app_id in self._outside or has_uploads(snapshot)
            if not seen or not self._has_place(app_id, snapshot):
                return
            stage = self._stages[app_id] = ApplicationRehearsal(
                app_id,
                policy.settings,
                policy.following,
                slo=settings.objective,
                interval=settings.decision_interval,
                min_workers=settings.min_workers,
                max_workers=settings.max_workers,
                resumed=policy.rehearsed,
            )
            self._policies[app_id], self._objectives[app_id] = policy, settings.slo
            if past is not None:
                policy.learn(service for _, _, service in past.uploads)
                stage.recollect(rounds(app_id, past, settings))
        self._noted.append((stage, snapshot, signals))

    def _has_place(self, app_id: str, snapshot: Snapshot) -> bool:
        """Return whether an application may be rehearsed; much busier, it takes the place of another."""
        if len(self._stages) < MOST_REHEARSED:
            return True
        traffic = self._outside.get(app_id, 0.0)
        traffic += (len(snapshot.recent_service_times) - traffic) / TRAFFIC_ROUNDS
        self._outside[app_id] = traffic
        self._looks += 1
        if self._looks >= _SEAT_ROUNDS:
            self._looks = 0
            self._least = min(self._stages.values(), key=lambda stage: stage.traffic)
        least = self._least
        if least is None or traffic <= _BUSIER * least.traffic:
            return False
        self._least = None
        del self._outside[app_id]
        self.forget(least.app_id)
        return True

    def recall(self, applications: Applications) -> None:
        """Take up what the monitor that led before kept in the same folder."""
        if self._kept is not None:
            try:
                self._kept.read()
            except JournalError as error:
                _log.warning("rehearsal.not_kept", error=error)
        self.resume(applications)

    def resume(self, applications: Applications) -> None:
        """Let each policy follow what was chosen for it before this monitor began."""
        if self._kept is None:
            return
        for app_id, watched in applications:
            policy, kept = watched.family, self._kept.get(app_id)
            if policy is None or kept is None or app_id in self._stages or kept.slo != watched.settings.slo:
                continue
            if kept.setting in policy.settings:
                policy.follow(policy.settings.index(kept.setting), kept.why)

    def forget(self, app_id: str) -> None:
        """Begin again with an application: its policy has changed."""
        if self._stages.pop(app_id, None) is self._least:
            self._least = None
        self._policies.pop(app_id, None)
        self._objectives.pop(app_id, None)

    def follow(self) -> list[SettingChoice]:
        """Let each policy follow what was found best since the last call; return what was."""
        followed: list[SettingChoice] = []
        while self._choices:
            stage, choice = self._choices.popleft()
            if self._stages.get(choice.app_id) is not stage:  # forgotten meanwhile
                continue
            policy = self._policies[choice.app_id]
            policy.follow(choice.index, choice.why, rehearsed=choice.rehearsed)
            if choice.rehearsed:
                slo = self._objectives[choice.app_id]
                self._fresh[choice.app_id] = KeptChoice(slo, policy.settings[choice.index], choice.why)
            followed.append(choice)
            if choice.index != choice.before:
                _log.info("rehearsal.chosen", app=choice.app_id, reason=choice.why)
        return followed

    def work(self) -> None:
        """Begin to rehearse what was noted, unless the last piece of work is still under way."""
        if self._working is not None and not self._working.done():
            self._hand_on()  # snapshots are large, they must not pile up
            return
        stages = list(self._stages.values())
        if self._noted or any(stage.waiting for stage in stages):
            self._working = self._executor.submit(self._rehearse, stages, self._to_keep())

    def close(self) -> None:
        """Rehearse no more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.follow()
        self._keep(self._fresh)

    def _hand_on(self) -> None:
        """Hand what was noted to the stages, in order, in whichever thread comes first."""
        with self._handing:
            while self._noted:
                stage, snapshot, signals = self._noted.popleft()
                stage.note(snapshot, signals)

    def _to_keep(self) -> dict[str, KeptChoice]:
        """Return the choices to write now: all that were made since, from time to time."""
        self._pieces += 1
        if self._pieces % _KEEP_ROUNDS or not self._fresh:
            return {}
        fresh, self._fresh = self._fresh, {}
        return fresh

    def _keep(self, choices: dict[str, KeptChoice]) -> None:
        """Write choices; where that fails, a monitor that restarts rehearses them again."""
        if self._kept is None or not choices:
            return
        try:
            self._kept.keep_all(choices)
        except JournalError as error:
            if not self._kept_fails:
                _log.warning("rehearsal.not_kept", error=error)
            self._kept_fails = True
        else:
            self._kept_fails = False

    def _read(self, journal: JournalReader, since: float) -> None:
        try:
            found = histories(journal.reports(since=since))
            for app_id, past in found.items():
                latest = journal.latest(app_id)
                if latest is not None:
                    past.start_delay, past.start_cpu = latest.snapshot.start_delay, latest.snapshot.start_cpu
        except JournalError as error:
            _log.warning("rehearsal.past_unknown", error=error)
        else:
            self._pasts = found

    def _rehearse(self, stages: Sequence[ApplicationRehearsal], choices: dict[str, KeptChoice]) -> None:
        """Spend what is saved: most of it on the busiest, the rest by turns. Write the choices."""
        self._keep(choices)
        self._hand_on()
        stages = [stage for stage in stages if stage.waiting]
        if not stages:  # all that was noted is of applications that were forgotten
            return
        if not self._prepared:  # once in a process, so it is not counted
            self._prepared = True
            shadow_fleets().prepare()
        self._credit = min(self._credit + self._a_round, _MOST_ROUNDS_SAVED * self._a_round)
        begun = self._clock()
        spendable = self._credit
        until = spendable * BUSIEST_SHARE
        for stage in sorted(stages, key=lambda stage: -stage.traffic):
            self._step(stage, begun + until)
        first = self._turn % len(stages)
        for stage in (*stages[first:], *stages[:first]):
            if self._step(stage, begun + spendable):
                self._turn += 1
        self._credit -= self._clock() - begun

    def _step(self, stage: ApplicationRehearsal, until: float) -> bool:
        """Rehearse all that waits at a stage, while there is time; return whether there was any."""
        worked = False
        while stage.waiting and self._clock() < until:
            worked = True
            try:
                choice = stage.step()
            except Exception:  # noqa: BLE001 - one application's rehearsal must not stop the others'
                _log.exception("rehearsal.failed", app=stage.app_id)
                return worked
            if choice is not None:
                self._choices.append((stage, choice))
        return worked
