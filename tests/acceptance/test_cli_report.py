"""`upswell report` and `explain` over a week's journal: what a terminal shows, the page, how quickly."""

from __future__ import annotations

import json
import re
import resource
from typing import TYPE_CHECKING

import pytest

from support.recorded_journal import write_journal
from support.recorded_week import BEGIN, DAYS, HOUR, write_full, write_week
from support.system import System
from support.terminal import Terminal, holds_to
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEEK = f"--since {BEGIN:.0f} --until {BEGIN + DAYS * 24 * HOUR:.0f}"
BAD_AFTERNOON = "--since 2025-11-27T10:00 --until 2025-11-27T20:00"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    settings = {"price_per_worker_hour": 0.0438, "currency": "EUR"}
    with System(tmp_path / "s", app_id="photos", **settings) as made:
        yield made


@pytest.mark.parametrize("width", [80, 120])
def test_a_week_and_an_afternoon_read_well_in_a_terminal(system: System, width: int) -> None:
    write_week(system.folder / "state" / "journal.sqlite")
    with Terminal(system.environment, system.folder, width=width) as terminal:
        week = terminal.run(f"upswell report {WEEK}")
        assert week.status == 0
        assert terminal.colour_of("MISSED") == "red"
        holds_to(f"report-week-{width}", week.text)
        afternoon = terminal.run(f"upswell report {BAD_AFTERNOON} --app photos")
        holds_to(f"report-hours-{width}", afternoon.text)
        assert max(map(len, [*week.lines, *afternoon.lines])) <= width
        refused = terminal.run("upswell report --since 1h")
        assert refused.status == 1
        assert re.search(r"the journal has Wed 2025-11-26 08:00\sto Wed 2025-12-03\s08:00", refused.text)


@pytest.mark.parametrize("width", [80, 120])
def test_explain_finds_the_journal_by_itself(system: System, width: int) -> None:
    write_journal(system.folder / "state" / "journal.sqlite")
    with Terminal(system.environment, system.folder, width=width) as terminal:
        shown = terminal.run("upswell explain --at 1795000210")
        assert shown.status == 0
        holds_to(f"explain-{width}", shown.text)
        assert terminal.run("upswell explain state --at 1795000210").lines == shown.lines
        assert terminal.run("upswell replay --policy keda:5 | head -3").lines[0].startswith("e1: 500 uploads")


def test_without_a_journal_it_is_said_who_writes_it(system: System) -> None:
    done = system.run("report", check=False)
    assert done.returncode == 1
    assert "journal.sqlite (a monitor with this state_dir writes it)" in done.stderr


def test_json_has_each_hour_and_day_and_the_error_budget(system: System) -> None:
    write_week(system.folder / "state" / "journal.sqlite", ("photos", "videos"))
    photos, videos = json.loads(system.run("report", *WEEK.split(), "--json").stdout)
    assert (photos["app_id"], videos["app_id"]) == ("photos", "videos")
    assert photos["total"]["held"] is True
    assert photos["hours_not_observed"] == 4
    assert [hour["begin"] for hour in photos["hours"] if hour["held"] is False] == [
        BEGIN + hour * HOUR for hour in (30, 31, 76)
    ]
    for name in ("stored", "late", "dead", "failed", "scalings"):
        assert sum(hour[name] for hour in photos["hours"]) == photos["total"][name]
        assert sum(day[name] for day in photos["days"]) == photos["total"][name]
    total = photos["total"]
    missed, ended = total["late"] + total["dead"], total["stored"] + total["dead"]
    assert total["error_budget_left"] == pytest.approx(1 - missed / (0.05 * ended))
    assert total["price"] == pytest.approx(total["worker_hours"] * 0.0438)
    assert {(one["what"], one["count"]) for one in photos["failures"]} == {("failed", 50), ("dead", 4)}
    assert videos["failures"] == []


def test_hours_to_come_are_not_hours_without_a_monitor(system: System) -> None:
    write_week(system.folder / "state" / "journal.sqlite")

    def not_observed(*until: str) -> int:
        asked = ("report", "--since", f"{BEGIN:.0f}", *until, "--json")
        return json.loads(system.run(*asked).stdout)[0]["hours_not_observed"]

    before = not_observed()  # an hour may end between any two
    assert before <= not_observed("--until", "2100-01-01") <= not_observed()


def test_the_page_asks_nobody_and_shows_hostile_text_as_text(system: System) -> None:
    write_week(system.folder / "state" / "journal.sqlite")
    page = system.run("report", *WEEK.split(), "--html").stdout
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)|\bsrc=|\bhref=|url\(|@import", page)
    assert page.count("missed (!)") == 1
    assert page.count('<i class="missed" title=') == 3
    assert "prefers-color-scheme: dark" in page
    assert "bucket &quot;photos&quot;" in page


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_journal_is_answered_within_a_second(system: System) -> None:
    """At its default size, with as many hours as it keeps (a year of twelve applications); processor time."""
    path = system.folder / "state" / "journal.sqlite"
    end = write_full(path, Settings().journal_max_bytes)
    assert path.stat().st_size > 0.9 * Settings().journal_max_bytes
    week = ("--since", f"{end - 7 * 24 * HOUR:.0f}", "--until", f"{end:.0f}")
    used: list[float] = []
    for form in ((), ("--html",), ("--json",)):
        for _ in range(3):  # a busy machine makes one of them slow, not all
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            shown = system.run("report", *week, *form).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert all(f"app{number}" in shown for number in range(12))
        assert min(used[-3:]) < 1.0, used
