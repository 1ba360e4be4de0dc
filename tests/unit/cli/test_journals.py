from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.recorded_journal import BEGIN, write_journal
from upswell.cli.journals import application, open_journal, parse_time
from upswell.errors import JournalError
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

NEWEST = 1_795_000_000.0


def test_a_journal_that_is_not_there_or_an_application_it_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        open_journal(str(tmp_path / "none.sqlite"), Settings())
    with pytest.raises(JournalError, match="no journal at"):
        open_journal(str(tmp_path), Settings())
    write_journal(tmp_path / "journal.sqlite")
    reader = open_journal(str(tmp_path), Settings())
    assert application(reader, None) == "e1"
    with pytest.raises(JournalError, match="applications: e1; got e2"):
        application(reader, "e2")


def test_of_several_applications_one_must_be_named(tmp_path: Path) -> None:
    for app in ("e1", "e2"):
        write_journal(tmp_path / "journal.sqlite", app=app)
    with pytest.raises(JournalError, match=r"--app must name one .*: e1, e2"):
        application(open_journal(str(tmp_path), Settings()), None)


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 99)
    with pytest.raises(JournalError, match="file is not a database"):
        application(open_journal(str(tmp_path), Settings()), None)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("latest", NEWEST),
        ("1794999999.5", 1_794_999_999.5),
        ("-5min", NEWEST + 100 - 300),
        ("-2 h", NEWEST + 100 - 7200),
        ("2026-11-18T11:06:40+00:00", NEWEST),
        ("2026-11-18T12:06:40+01:00", NEWEST),
        ("2026-11-18 11:06:40Z", NEWEST),
        ("99999999999999d", 0.0),
    ],
)
def test_a_time_is_an_instant_a_distance_from_now_or_the_latest(text: str, at: float) -> None:
    assert parse_time(text, NEWEST, NEWEST + 100) == at


def test_a_time_of_day_is_the_last_such_before_the_newest_decision() -> None:
    shown = time.strftime("%H:%M:%S", time.localtime(NEWEST - 30))
    assert parse_time(shown, NEWEST, NEWEST + 1e6) == NEWEST - 30
    later = time.strftime("%H:%M:%S", time.localtime(NEWEST + 3600))
    assert parse_time(later, NEWEST, NEWEST + 1e6) == NEWEST + 3600 - 86400


@pytest.mark.parametrize(
    "text", ["", "yesterday", "nan", "inf", "-5", "2026-13-01", "25:00", "1e400", "1e12", "-1e12"]
)
def test_what_is_no_time_is_refused_with_what_is(text: str) -> None:
    if text == "-5":  # seconds since 1970, before it: a number like another
        assert parse_time(text, NEWEST, NEWEST) == -5
        return
    with pytest.raises(JournalError, match="--at must be a time such as"):
        parse_time(text, NEWEST, NEWEST)


def test_the_decision_at_an_instant_is_the_newest_made_by_then(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite")
    reader = open_journal(str(tmp_path), Settings())
    entry = reader.decision_at("e1", BEGIN + 101)
    oldest = reader.oldest("e1")
    assert entry is not None
    assert oldest is not None
    assert BEGIN + 99 <= entry.at <= BEGIN + 101
    assert reader.decision_at("e1", oldest.at) == oldest
    assert reader.decision_at("e1", oldest.at - 1) is None
    assert reader.decision_at("e2", BEGIN + 101) is None
