"""What a replay takes from the journal, and what it says where the journal does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.recorded_journal import BEGIN, write_journal
from upswell.cli.journals import open_journal
from upswell.errors import JournalError, SettingsError
from upswell.journal import Journal
from upswell.lab.contenders import choose
from upswell.lab.recorded import read_recorded, recall
from upswell.lab.replay_world import ReplaySetup, replay_setup
from upswell.lab.runs import run_policy
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

UNDER = {
    "policy": "threshold",
    "min_workers": 2,
    "max_workers": 20,
    "tolerance": 0.2,
    "decision_interval": 2.0,
}
ASKED: dict[str, Any] = {
    "slo": None, "share": None, "start_delay": None, "min_workers": None, "max_workers": None,
    "rules_file": None, "wrappers": True,
}  # fmt: skip


def replayed(folder: Path, settings: dict[str, Any] | None, **asked: Any) -> ReplaySetup:
    write_journal(folder / "journal.sqlite", settings=settings)
    recorded = read_recorded(open_journal(str(folder), Settings()), "e1")
    return replay_setup(recorded, BEGIN, choose("slo"), **{**ASKED, **asked})


def test_all_is_as_it_was_recorded(tmp_path: Path) -> None:
    found = replayed(tmp_path, UNDER)
    world = found.world
    assert (world.min_workers, world.max_workers, world.slots) == (2, 20, 2)
    assert (world.start_delay, world.decision_interval) == (5.0, 2.0)
    assert found.house.wrappers
    assert found.house.settings.tolerance == 0.2
    assert found.notes == ()


def test_what_is_asked_for_stands_over_what_was_recorded(tmp_path: Path) -> None:
    found = replayed(tmp_path, UNDER, slo="3", share=0.5, start_delay=1.0, max_workers=7, wrappers=False)
    assert str(found.world.slo) == "50% < 3s"
    assert (found.world.start_delay, found.world.max_workers) == (1.0, 7)
    assert not found.house.wrappers


def test_bounds_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="max_workers must be >= 2, got 1"):
        replayed(tmp_path, UNDER, max_workers=1)


def test_a_journal_that_does_not_tell_its_settings_is_replayed_bare_and_that_is_said(tmp_path: Path) -> None:
    found = replayed(tmp_path, None)
    assert not found.house.wrappers
    assert found.world.max_workers == 500
    assert "does not tell the bounds and wrappers" in found.notes[0]


def test_standby_workers_are_replayed_and_billed_with_several_slots_as_well(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", settings={**UNDER, "standby_workers": 3})
    recorded = read_recorded(open_journal(str(tmp_path), Settings()), "e1")
    found = replay_setup(recorded, BEGIN, choose("slo"), **ASKED)
    assert (found.world.slots, found.world.standby_workers) == (2, 3)
    assert found.notes == ()
    run = run_policy(recorded.traffic, found.world, found.choice, house=found.house)
    assert run.outcome.cost_standby > 0


def test_rules_guard_again_where_they_are_still_there(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    gone = replayed(tmp_path, {**UNDER, "rules_file": str(rules)})
    assert not gone.choice.guarded
    assert "are not there any more" in gone.notes[0]
    rules.write_text('[rules.a]\nwhen = "true"\nset = 1\n')
    (tmp_path / "journal.sqlite").unlink()
    there = replayed(tmp_path, {**UNDER, "rules_file": str(rules)})
    assert there.choice.text == "slo+rules"
    assert there.house.settings.rules_file == str(rules)


def test_each_application_is_remembered_under_its_own_settings(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 1_000_000)
    settings = Settings(max_workers=9, apps={"e1": {"min_workers": 3}, "e2": {"rules_file": "mine.toml"}})
    journal.remember(settings)
    journal.remember(replace(settings, max_workers=8))
    journal.flush()
    first, second = recall(journal, "e1"), recall(journal, "e2")
    assert first is not None
    assert second is not None
    assert (first.min_workers, first.max_workers) == (3, 8)
    assert second.rules_file.endswith("/mine.toml")
    assert recall(journal, "e3") is None
    journal.remember_settings({"e1": {"max_workers": "many"}})
    journal.flush()
    with pytest.raises(JournalError, match="settings of e1 are from another version"):
        recall(journal, "e1")
    journal.close()


def test_a_start_costs_what_the_journals_workers_took_of_a_processor_or_what_was_set(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", settings=UNDER)
    recorded = read_recorded(open_journal(str(tmp_path), Settings()), "e1")
    assert replay_setup(recorded, BEGIN, choose("slo"), **ASKED).world.start_cost == 0.8
    told = [
        replace(entry, snapshot=replace(entry.snapshot, start_cpu=1.5 if number else None))
        for number, entry in enumerate(recorded.entries)
    ]
    found = replay_setup(replace(recorded, entries=told), BEGIN, choose("slo"), **ASKED)
    assert (found.world.start_cost, found.house.settings.start_cost) == (3.0, 3.0)
    assert recorded.settings is not None
    own = replace(recorded, entries=told, settings=replace(recorded.settings, start_cost=7.0))
    assert replay_setup(own, BEGIN, choose("slo"), **ASKED).world.start_cost == 7.0
