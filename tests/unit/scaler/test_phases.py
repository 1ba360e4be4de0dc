"""How the scaler sees a worker: its phase, from what is listed, heard and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from upswell.fleets.protocol import FleetWorker
from upswell.scaler.phases import ANSWER_SECONDS, ReceivedStatus, SentCommand, see

if TYPE_CHECKING:
    from upswell.messages import CommandName, WorkerState
    from upswell.scaler.plan import ObservedWorker, Phase

NOW = 1000.0
START_TIMEOUT = 60.0


def look(
    heard: ReceivedStatus | None = None,
    told: SentCommand | None = None,
    *,
    state: Literal["running", "exited"] = "running",
    requested_at: float = NOW - 10,
    standby: bool = False,
    reports_status: bool = True,
    listening_since: float = 0.0,
) -> ObservedWorker:
    worker = FleetWorker(
        worker_id="w1",
        app_id="a1",
        state=state,
        requested_at=requested_at,
        standby=standby,
        reports_status=reports_status,
    )
    return see(worker, heard, told, start_timeout=START_TIMEOUT, listening_since=listening_since, now=NOW)


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("starting", "starting"),
        ("ready", "ready"),
        ("standby", "standby"),
        ("draining", "draining"),
        ("stopped", "draining"),
    ],
)
def test_a_worker_is_as_it_reports(state: WorkerState, phase: Phase) -> None:
    assert look(ReceivedStatus(state, 2, NOW)).phase == phase
    assert look(ReceivedStatus(state, 2, NOW)).busy == 2


def test_an_exited_worker_has_ended_whatever_it_last_reported() -> None:
    assert look(ReceivedStatus("ready", 2, NOW), state="exited").phase == "ended"


def test_a_worker_not_heard_of_yet_is_starting_until_its_time_is_over() -> None:
    assert look().phase == "starting"
    assert look(standby=True).phase == "starting_standby"
    assert look(requested_at=NOW - START_TIMEOUT - 1).phase == "lost"


def test_a_worker_written_by_others_is_active_as_long_as_it_runs() -> None:
    """It sends no status, so its silence proves nothing."""
    worker = look(reports_status=False, requested_at=0.0)
    assert (worker.phase, worker.obeys) == ("ready", False)


def test_silence_counts_only_while_the_scaler_could_have_heard() -> None:
    """A broker that was away has swallowed statuses: no data is not zero."""
    long_ago = ReceivedStatus("ready", 1, NOW - 500)
    assert look(long_ago).phase == "lost"
    assert look(long_ago, listening_since=NOW - 5).phase == "ready"


@pytest.mark.parametrize(
    ("state", "command", "phase"),
    [("standby", "activate", "ready"), ("ready", "standby", "standby"), ("ready", "drain", "draining")],
)
def test_a_command_on_its_way_counts_as_obeyed(
    state: WorkerState, command: CommandName, phase: Phase
) -> None:
    """Else the next round would give it again, or to one worker more."""
    assert look(ReceivedStatus(state, 0, NOW), SentCommand(command, NOW - 1)).phase == phase


def test_an_activation_without_effect_is_taken_for_lost_after_a_while() -> None:
    assert (
        look(ReceivedStatus("standby", 0, NOW), SentCommand("activate", NOW - ANSWER_SECONDS - 1)).phase
        == "standby"
    )
    assert (
        look(ReceivedStatus("standby", 0, NOW), SentCommand("activate", NOW, unroutable=True)).phase
        == "standby"
    )


def test_a_drained_worker_that_goes_on_reporting_ready_did_not_answer() -> None:
    told = SentCommand("drain", NOW - ANSWER_SECONDS - 2)
    assert look(ReceivedStatus("ready", 1, NOW - 1), told).unanswered
    assert not look(ReceivedStatus("draining", 1, NOW - 1), told).unanswered


def test_a_drained_worker_of_which_nothing_was_heard_since_may_well_be_draining() -> None:
    """A second way of asking it could end its uploads, so there must be proof that the first was lost."""
    told = SentCommand("drain", NOW - ANSWER_SECONDS - 2)
    assert not look(ReceivedStatus("ready", 1, told.at - 1), told).unanswered
    assert look(ReceivedStatus("ready", 1, NOW - 500), told).unanswered
    assert look(ReceivedStatus("ready", 1, NOW), SentCommand("drain", NOW, unroutable=True)).unanswered


def test_a_worker_asked_by_sigterm_is_not_asked_again() -> None:
    """To a worker the second SIGTERM means: put the uploads back and leave."""
    assert not look(ReceivedStatus("ready", 1, NOW), SentCommand("drain", 0.0, by_signal=True)).unanswered
