"""From what the fleet lists, a worker last reported and the last command to it, to its phase. Pure.

What comes in: one worker's facts. What goes out: its phase. It must not know what is wanted of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.messages import CommandName, WorkerState
from upswell.scaler.plan import ObservedWorker, Phase

if TYPE_CHECKING:
    from upswell.fleets.protocol import FleetWorker

ANSWER_SECONDS = 5.0
"""A command without effect by then was lost: SIGTERM asks to drain, other commands are sent again."""

_LEAVING = ("draining", "stopped")


class ReceivedStatus(Struct, frozen=True):
    """A worker's newest status, and when the scaler had it (its own clock: a worker's may differ)."""

    state: WorkerState
    busy: int
    at: float
    app_id: str = ""
    started_at: float = 0.0


class SentCommand(Struct, frozen=True):
    """The newest command to a worker; `by_signal`: by SIGTERM. `unroutable`: nobody was there to read it."""

    command: CommandName
    at: float
    by_signal: bool = False
    unroutable: bool = False


def see(
    worker: FleetWorker,
    heard: ReceivedStatus | None,
    told: SentCommand | None,
    *,
    start_timeout: float,
    listening_since: float,
    pending_at: float = 0.0,
    outdated: bool = False,
    now: float,
) -> ObservedWorker:
    """Return how a worker is, by its newest status and the newest command to it, where there were any.

    `start_timeout`: seconds after which one that is not heard of is lost; one written by others sends no
    status, so it is ready as long as it runs. `listening_since`: silence from before says nothing.
    `pending_at`: when it was last seen pending; it cannot have reported before. `outdated`: an operator wants
    it replaced.
    """
    silent_since = max(heard.at if heard else worker.requested_at, listening_since, pending_at)
    silent = now - silent_since > start_timeout
    phase = _phase(worker, heard, told, silent=silent, now=now)
    return ObservedWorker(
        worker_id=worker.worker_id,
        app_id=worker.app_id,
        phase=phase,
        requested_at=worker.requested_at,
        busy=heard.busy if heard else 0,
        pending=worker.pending if phase in ("starting", "starting_standby") else "",
        obeys=worker.reports_status,
        told_to_leave=told is not None and told.command == "drain",
        outdated=outdated,
        unanswered=phase == "draining" and _unanswered(heard, told, silent=silent),
    )


def _phase(
    worker: FleetWorker, heard: ReceivedStatus | None, told: SentCommand | None, *, silent: bool, now: float
) -> Phase:
    if worker.state == "exited":
        return "ended"
    if is_leaving(heard, told):
        return "draining"
    if not worker.reports_status:
        return "ready"
    if silent:
        return "lost"
    if heard is None or heard.state == "starting":
        return "starting_standby" if worker.standby else "starting"
    return as_told(heard.state, told, now)


def as_told(state: WorkerState, told: SentCommand | None, now: float) -> Phase:
    """Return ready or standby; a command that may still be on its way counts as obeyed."""
    if told and not told.unroutable and now - told.at <= ANSWER_SECONDS:
        return "ready" if told.command == "activate" else "standby"
    return "standby" if state == "standby" else "ready"


def is_leaving(heard: ReceivedStatus | None, told: SentCommand | None) -> bool:
    """Return whether a worker was told to drain, or says that it does: anybody may send it SIGTERM."""
    return bool((told and told.command == "drain") or (heard and heard.state in _LEAVING))


def _unanswered(heard: ReceivedStatus | None, told: SentCommand | None, *, silent: bool) -> bool:
    """Return whether a worker was told to drain and does not; a missing status is no proof, a late one is."""
    if told is None or told.by_signal or (heard and heard.state in _LEAVING):
        return False
    return told.unroutable or silent or (heard is not None and heard.at - told.at > ANSWER_SECONDS)
