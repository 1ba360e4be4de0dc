from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from upswell.cli.look.choice_view import choice_lines
from upswell.journal import ChoiceRow, Journal
from upswell.policies.slo.staffing import FAMILY

if TYPE_CHECKING:
    from pathlib import Path


def row(at: float, chosen: int = 3, before: int = 5) -> ChoiceRow:
    costs = array("f", [3600.0 * (10 + index / 10) for index in range(len(FAMILY))])
    late = array("f", [float(max(0, 100 - 2 * index)) for index in range(len(FAMILY))])
    why = "the last 5,000 uploads would have cost 10.3 worker-hours with 94 late"
    setting = str(FAMILY[chosen])
    return ChoiceRow("e1", at, chosen, before, setting, why, 5000.0, 50.0, costs.tobytes(), late.tobytes())


def test_the_journal_knows_what_was_followed_at_any_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 10**6)
    journal.record_choices([row(100.0), row(200.0, chosen=7)])
    journal.flush()
    assert journal.choice_at("e1", 99.0) is None
    assert journal.choice_at("e1", 150.0) == row(100.0)
    assert journal.choice_at("e1", 1e9) == row(200.0, chosen=7)
    assert journal.choice_at("other", 1e9) is None
    journal.close()


def test_the_oldest_choices_are_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 100_000)
    for number in range(20):
        journal.record_choices([row(float(number))])
    journal.flush()
    assert journal.choice_at("e1", 5.0) is None
    assert journal.choice_at("e1", 19.0) == row(19.0)
    journal.close()


def test_a_choice_is_shown_with_its_sentence_a_picture_and_the_settings_that_no_other_beats() -> None:
    lines = choice_lines(row(100.0))
    assert "would have cost 10.3 worker-hours" in lines[0]
    picture = [line for line in lines if "|" in line]
    assert sum(line.count("X") for line in picture) == 1
    assert any(line.startswith("     allowed |---") for line in picture)
    # from setting 50 on nothing is late, and each costs more than the one before
    assert len([line for line in lines if "start within" in line]) == 51
    followed = next(line for line in lines if line.endswith("<- followed"))
    assert followed.split()[1] == "94"
    assert max(map(len, picture)) <= 80


def test_a_choice_from_before_any_upload_says_only_why() -> None:
    prior = ChoiceRow("e1", 1.0, 3, 5, str(FAMILY[3]), "nothing rehearsed yet", 0.0, 0.0, b"", b"")
    assert len(choice_lines(prior)) == 1
