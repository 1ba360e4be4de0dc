"""Rehearsals beside the loop: the budget, whose turn it is, the wiring, and what a restart remembers."""

from __future__ import annotations

import itertools
import math
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.processes import lognormal, poisson
from upswell.analysis.sentence import told
from upswell.events import capture
from upswell.journal import Journal, ReportRow
from upswell.monitor.applications import Applications
from upswell.monitor.history import histories, rounds
from upswell.monitor.rehearsals import MOST_REHEARSED, KeptChoice, Rehearsals, kept_choices
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, FIRST
from upswell.settings import Settings, Slo
from upswell.simulator.application_rehearsal import ApplicationRehearsal, SettingChoice
from upswell.simulator.engine import Simulation
from upswell.simulator.jobs import in_chunks
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from upswell.analysis.snapshot import Snapshot

SETTINGS = Settings(slo="95% < 60s", min_workers=0, max_workers=200, slots=1)


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Meter:
    """CPU time that passes a bit with each look at it, and as told."""

    def __init__(self) -> None:
        self.used = 0.0

    def __call__(self) -> float:
        """Return the seconds used."""
        return self.used


def policy() -> SloPolicy:
    return SloPolicy(2.0)


def seen(seed: int = 5, seconds: float = 3000.0, rate: float = 1.0, app_id: str = "e1") -> list[Snapshot]:
    """Return what a monitor would have seen of random traffic."""
    rng = np.random.default_rng(seed)
    arrivals = poisson(rng, rate, seconds)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    world = World(app_id=app_id, slo=Slo(0.95, 60.0), start_delay=20.0, initial_workers=3)
    simulation = Simulation(in_chunks(arrivals, services), policy(), world)
    snapshots: list[Snapshot] = []
    while not simulation.over:
        snapshots.append(simulation.observe())
        simulation.apply(10)
    return snapshots


@pytest.fixture(scope="module")
def traffic() -> list[Snapshot]:
    return seen()


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> tuple[Meter, list[str]]:
    """Let each step cost 10 ms and rehearse one round; return the meter and whose steps were made."""
    meter, steps = Meter(), list[str]()
    ours, real_step = threading.get_ident(), ApplicationRehearsal.step

    def step(stage: ApplicationRehearsal) -> SettingChoice | None:
        if threading.get_ident() != ours:  # a monitor of an earlier test, in its thread
            return real_step(stage)
        meter.used += 0.01
        steps.append(stage.app_id)
        stage._next()
        return None

    monkeypatch.setattr(ApplicationRehearsal, "step", step)
    return meter, steps


def test_rehearsal_uses_no_more_than_its_share_of_a_core(costly: tuple[Meter, list[str]]) -> None:
    meter, _ = costly
    rehearsals = Rehearsals(2.0, clock=meter, executor=AtOnce(), share=0.1)
    apps = [(policy(), seen(seconds=200.0, app_id=f"e{n}")) for n in range(30)]
    for number in range(80):
        for one, snapshots in apps:
            one.decide(snapshots[number])
            rehearsals.note(one, SETTINGS, snapshots[number])
        rehearsals.work()
        # One step may be under way when the share is used up; the next round pays it back.
        assert meter.used <= 0.1 * 2.0 * (number + 1) + 0.01 + 1e-9
    assert meter.used >= 0.9 * 0.1 * 2.0 * 78


def test_the_busiest_is_rehearsed_whole_and_the_others_take_turns(costly: tuple[Meter, list[str]]) -> None:
    meter, steps = costly
    rehearsals = Rehearsals(2.0, clock=meter, executor=AtOnce(), share=0.02)  # four steps a round
    apps = [(policy(), seen(seconds=300.0, rate=5.0, app_id="busy"))]
    apps += [(policy(), seen(seconds=300.0, rate=0.5, app_id=f"calm{n}")) for n in range(8)]
    for number in range(120):
        for one, snapshots in apps:
            one.decide(snapshots[number])
            rehearsals.note(one, SETTINGS, snapshots[number])
        rehearsals.work()
    per_app = {f"calm{n}": steps.count(f"calm{n}") for n in range(8)}
    assert steps.count("busy") >= 110
    assert min(per_app.values()) > 0


def test_a_round_never_waits_for_a_rehearsal_under_way(traffic: list[Snapshot]) -> None:
    """The thread is stuck; the loop's calls return all the same, and no second piece of work is begun."""
    began, stuck = threading.Event(), threading.Event()
    executor = ThreadPoolExecutor(1)
    executor.submit(lambda: (began.set(), stuck.wait()))
    assert began.wait(60)  # what is under way is in the queue no more
    rehearsals = Rehearsals(2.0, executor=executor)
    one = policy()
    for snapshot in traffic[:200]:
        rehearsals.follow()
        one.decide(snapshot)
        rehearsals.note(one, SETTINGS, snapshot)
        rehearsals.work()
    assert executor._work_queue.qsize() == 1
    assert "nothing rehearsed yet" in one.why
    stuck.set()
    rehearsals.close()


def test_what_did_best_on_other_traffic_is_followed_until_enough_was_rehearsed_and_each_says_so(
    traffic: list[Snapshot],
) -> None:
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce())
    one = policy()
    whys: list[str] = []
    rehearsed_at = None
    for number, snapshot in enumerate(traffic):
        rehearsals.follow()
        decision = one.decide(snapshot)
        if decision.rejected:
            whys.append(told(decision.rejected[0]))
        if rehearsed_at is None and one.rehearsed:
            rehearsed_at = number
        rehearsals.note(one, SETTINGS, snapshot)
        rehearsals.work()
    assert "did best on other traffic" in whys[0]
    assert "uploads would have cost" in whys[-1]
    assert "worker-hours" in whys[-1]
    assert rehearsed_at is not None
    # Ten episodes of an objective each, 600 s, and rehearsed one objective later; 60 uploads come sooner.
    assert 660 / 2 <= rehearsed_at <= 1.2 * 660 / 2


def test_an_application_without_uploads_or_of_unknown_depth_is_not_rehearsed(traffic: list[Snapshot]) -> None:
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce())
    one = policy()
    idle = replace(
        traffic[0],
        messages_ready=0,
        messages_unacknowledged=0,
        recent_service_times=(),
        recent_response_times=(),
    )
    for snapshot in (idle, replace(traffic[-1], messages_ready=None)):
        one.decide(snapshot)
        rehearsals.note(one, SETTINGS, snapshot)
        assert not rehearsals._stages


def test_what_waits_for_rehearsal_is_bounded_and_so_are_the_applications(traffic: list[Snapshot]) -> None:
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce(), share=0.0)
    one = policy()
    for snapshot in traffic:
        one.decide(snapshot)
        rehearsals.note(one, SETTINGS, snapshot)
        rehearsals.work()
    assert len(rehearsals._stages["e1"]._notes) == 120
    rehearsals._stages = {f"x{n}": rehearsals._stages["e1"] for n in range(MOST_REHEARSED)}
    rehearsals.note(one, SETTINGS, traffic[-1])
    assert "e1" not in rehearsals._stages


def test_a_rehearsal_that_fails_stops_no_other(
    traffic: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = ApplicationRehearsal.step

    def step(stage: ApplicationRehearsal) -> SettingChoice | None:
        if stage.app_id == "bad":
            stage._next()
            raise ZeroDivisionError
        return good(stage)

    monkeypatch.setattr(ApplicationRehearsal, "step", step)
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce())
    bad, fine = policy(), policy()
    with capture() as log:
        for snapshot, other in zip(traffic[:400], seen(app_id="bad"), strict=False):
            rehearsals.follow()
            for one, what in ((bad, other), (fine, snapshot)):
                one.decide(what)
                rehearsals.note(one, SETTINGS, what)
            rehearsals.work()
    assert "uploads would have cost" in fine.why
    assert "nothing rehearsed yet" in bad.why
    assert any(entry["event"] == "rehearsal.failed" and entry["app"] == "bad" for entry in log)


def journal_of(path: Path, count: int, rng: np.random.Generator) -> Journal:
    journal = Journal(path, 50_000_000)
    arrivals = poisson(rng, 1.0, float(count))
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    rows = [
        ReportRow("e1", float(a), float(a + s), 0.0, float(s), "stored")
        for a, s in zip(arrivals, services, strict=True)
    ]
    journal.record([], sorted(rows, key=lambda row: row.finished_at))
    journal.flush()
    return journal


def test_a_restarted_monitor_has_chosen_by_its_second_round_from_what_the_journal_remembers(
    tmp_path: Path, traffic: list[Snapshot]
) -> None:
    journal = journal_of(tmp_path / "journal.sqlite", 2000, np.random.default_rng(9))
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce())
    rehearsals.recollect(journal, now=2100.0)
    one = policy()
    one.decide(traffic[0])
    rehearsals.note(one, SETTINGS, traffic[0])
    rehearsals.work()
    rehearsals.follow()
    assert "uploads would have cost" in one.why
    # Those of the last objective are not rehearsed yet; with a memory of 1,000 objectives, 60,000 s, older
    # ones count less.
    rehearsal = rehearsals._stages["e1"].rehearsal
    assert rehearsal is not None
    assert rehearsal.shadows.count == pytest.approx(60_000 * (1 - math.exp(-1940 / 60_000)), rel=0.05)
    assert one._services.count == 1000
    journal.close()


def test_a_round_that_comes_before_the_journal_is_read_does_not_lose_what_it_remembers(
    tmp_path: Path, traffic: list[Snapshot]
) -> None:
    journal = journal_of(tmp_path / "journal.sqlite", 2000, np.random.default_rng(9))
    may_read = threading.Event()
    executor = ThreadPoolExecutor(1)
    executor.submit(may_read.wait)
    rehearsals = Rehearsals(2.0, executor=executor)
    rehearsals.recollect(journal, now=2100.0)
    one = policy()
    one.decide(traffic[0])
    rehearsals.note(one, SETTINGS, traffic[0])
    assert not rehearsals._stages
    may_read.set()
    executor.submit(int).result()  # after the journal was read
    rehearsals.note(one, SETTINGS, traffic[0])
    assert one._services.count == 1000
    rehearsals.close()
    journal.close()


def test_a_journal_that_cannot_be_read_is_told_and_rehearsal_begins_without(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = journal_of(path, 10, np.random.default_rng(1))
    journal.close()
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_bytes(b"no journal at all" * 100)
    rehearsals = Rehearsals(2.0, executor=AtOnce())
    with capture() as log:
        rehearsals.recollect(journal, now=100.0)
    assert [entry["event"] for entry in log] == ["rehearsal.past_unknown"]


def test_the_past_is_told_round_by_round_with_every_upload_in_it_once(tmp_path: Path) -> None:
    journal = journal_of(tmp_path / "journal.sqlite", 500, np.random.default_rng(2))
    past = histories(journal.reports())["e1"]
    told = list(rounds("e1", past, SETTINGS))
    journal.close()
    assert sum(len(snapshot.recent_service_times) for snapshot, _ in told) == len(past.uploads)
    assert all(snapshot.messages_ready == 0 for snapshot, _ in told)  # none waited
    assert max(snapshot.messages_unacknowledged or 0 for snapshot, _ in told) > 1
    assert all(later.at > earlier.at for (earlier, _), (later, _) in itertools.pairwise(told))


def test_a_choice_names_a_member_of_the_family(traffic: list[Snapshot]) -> None:
    stage = ApplicationRehearsal(
        "e1", FAMILY, FIRST, slo=SETTINGS.objective, interval=2.0, min_workers=0, max_workers=200
    )
    one = policy()
    choices: list[SettingChoice] = []
    for snapshot in traffic:
        one.decide(snapshot)
        assert one.signals is not None
        stage.note(snapshot, one.signals)
        choice = stage.step()
        if choice is not None:
            choices.append(choice)
    assert choices
    assert all(0 <= choice.index < len(FAMILY) for choice in choices)
    # The setting that is followed already is named where it newly rests on uploads, and once an hour.
    confirmed = [b for a, b in itertools.pairwise(choices) if b.index == a.index]
    assert len(confirmed) <= 2
    assert all(choice.before == choice.index for choice in confirmed)
    assert choices[-1].frontier is not None
    assert len(choices[-1].frontier.costs) == len(choices[-1].frontier.late) == len(FAMILY)


def test_a_monitor_that_restarts_follows_at_once_what_was_chosen_before(
    tmp_path: Path, traffic: list[Snapshot]
) -> None:
    settings = replace(SETTINGS, apps={"e1": {}}, policy="slo")
    first = Rehearsals(2.0, clock=Meter(), executor=AtOnce(), kept=kept_choices(tmp_path))
    one = policy()
    for snapshot in traffic:
        first.follow()
        one.decide(snapshot)
        first.note(one, settings, snapshot)
        first.work()
    first.close()
    assert one.following != FIRST
    for slo, following in ((settings.slo, one.following), ("95% < 61s", FIRST)):
        applications = Applications(replace(settings, slo=slo), 0.0)
        Rehearsals(2.0, executor=AtOnce(), kept=kept_choices(tmp_path)).resume(applications)
        watched = dict(applications)["e1"]
        assert watched.family is not None
        assert watched.family.following == following


def test_choices_that_cannot_be_read_or_written_are_told_once_and_nothing_stops(tmp_path: Path) -> None:
    (tmp_path / "monitor.choices.json").write_bytes(b"{")
    with capture() as log:
        assert kept_choices(tmp_path) is None
    assert [entry["event"] for entry in log] == ["rehearsal.not_kept"]
    (tmp_path / "monitor.choices.json").unlink()
    rehearsals = Rehearsals(2.0, executor=AtOnce(), kept=kept_choices(tmp_path))
    (tmp_path / "monitor.choices.new").mkdir()
    with capture() as log:
        for _ in range(2):
            rehearsals._keep({"e1": KeptChoice("95% < 60s", FAMILY[0], "it did best")})
    assert [entry["event"] for entry in log] == ["rehearsal.not_kept"]


def test_where_there_is_no_place_a_much_busier_application_takes_that_of_the_least_busy(
    traffic: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upswell.monitor.rehearsals.MOST_REHEARSED", 2)
    rehearsals = Rehearsals(2.0, clock=Meter(), executor=AtOnce(), share=0.0)
    rates = {"some": 1.0, "few": 0.1, "many": 5.0}
    apps = {app: (policy(), seen(seconds=1000.0, rate=rate, app_id=app)) for app, rate in rates.items()}
    for number in range(400):
        for one, snapshots in apps.values():
            one.decide(snapshots[number])
            rehearsals.note(one, SETTINGS, snapshots[number])
        rehearsals.work()
    assert set(rehearsals._stages) == {"some", "many"}
