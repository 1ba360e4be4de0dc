"""docs/how-it-decides.md says what the code does, and its pictures are those that the script draws."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from upswell.analysis.snapshot import Percentiles, Snapshot, Workers
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.policies.slo.staffing import FAMILY, Family, Services, StaffingSetting
from upswell.settings import Slo
from upswell.simulator.rehearsal import CAUTION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-it-decides.md").read_text("utf-8")


def slots(setting: StaffingSetting, waiting: int, in_flight: int) -> int:
    """Return the slots wanted in the page's example; exactly 4 s an upload, so 0 to 4 s remain in flight."""
    family = Family((setting,), 30.0, 20.0)
    services = Services()
    services.add([4.0] * 100)
    return int(family.slots(in_flight, waiting, 6, 6.0, family.means(services, 4.0))[0])


@pytest.mark.parametrize(
    ("patience", "foresight", "wanted"),
    [(0.05, False, 65), (0.28, False, 30), (0.75, False, 12), (0.28, True, 16)],
)
def test_the_worked_example_is_what_the_rule_computes(patience: float, foresight: bool, wanted: int) -> None:
    assert slots(StaffingSetting(patience, foresight, None, 1.0), waiting=60, in_flight=6) == wanted
    assert f"**{wanted}**" in PAGE


def test_the_floor_of_the_example_is_what_the_rule_computes() -> None:
    assert slots(StaffingSetting(0.28, False, None, 1.0), waiting=0, in_flight=6) == 2
    assert slots(StaffingSetting(0.28, False, 0.5, 1.0), waiting=0, in_flight=6) == 8


def test_the_formula_asks_for_what_the_page_says() -> None:
    times = Percentiles(count=100, mean=4.0, p50=4.0, p95=4.0, p99=4.0, maximum=4.0)
    snapshot = Snapshot(
        app_id="e1",
        at=1000.0,
        slo=Slo(0.95, 30.0),
        window=60.0,
        slots_per_worker=1,
        workers=Workers(desired=6, ready=6, busy=6),
        start_delay=20.0,
        arrival_rate=1.5,
        messages_ready=60,
        messages_unacknowledged=6,
        oldest_age=10.0,
        service_time=times,
    )
    assert SloFormulaPolicy().decide(snapshot).desired_workers == 48
    assert "asks for 48 slots" in PAGE


def test_the_constants_of_the_page_are_those_of_the_code() -> None:
    assert f"{len(FAMILY)} settings" in PAGE
    caution = (CAUTION.deviations, CAUTION.exponent, CAUTION.aim, CAUTION.least_budget, CAUTION.most_budget)
    assert caution == (1.0, 2.0, 1.0, 0.5, 1.3)
    assert (CAUTION.spared_from, CAUTION.sparing) == (0.9, 2.0)
    assert (CAUTION.gain, CAUTION.late_remembered, CAUTION.late_before) == (0.02, 500.0, 3.0)
    assert (CAUTION.prior, CAUTION.prior_episodes, CAUTION.prior_used) == (6.0, 5.0, 0.5)


@pytest.mark.parametrize(
    ("cost", "late", "storms", "budget", "score"),
    [
        (14.2, 440, 440, 1.0, 14.2),
        (13.0, 520, 520, 1.0, 15.3),
        (16.8, 300, 300, 1.0, 16.8),
        (14.2, 440, 11, 1.0, 18.6),
        (14.2, 440, 440, 0.5, 48.3),
        (16.8, 300, 300, 0.5, 27.1),
    ],
)
def test_the_scores_of_the_page_follow_from_its_formula(
    cost: float, late: int, storms: int, budget: float, score: float
) -> None:
    limit = late + CAUTION.deviations * math.sqrt(storms * (late / storms) ** 2 + 1)
    assert cost * max(1.0, limit / (budget * 500)) ** 2 == pytest.approx(score, abs=0.05)


@pytest.mark.slow
def test_the_script_draws_every_picture_of_the_page(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "draw_pictures", tmp_path], check=True, timeout=280)
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = re.findall(r"\]\(pictures/([\w-]+\.svg)\)", PAGE)
    assert len(shown) == 4
    assert drawn == set(shown) == {path.name for path in (ROOT / "docs" / "pictures").glob("*.svg")}
    for name in shown:
        shapes = [tag.tag.rpartition("}")[2] for tag in ET.parse(tmp_path / name).iter()]
        assert shapes.count("path") > 5, f"{name} shows no data"
