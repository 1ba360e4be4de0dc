from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from upswell.errors import TraceError
from upswell.lab.contenders import choose_all
from upswell.lab.plots import HEIGHT, WIDTH, picture, write_comparison
from upswell.lab.runs import clairvoyant, run_policy
from upswell.lab.svg import Axis, even_ticks, ratio_ticks
from upswell.lab.traffic import Traffic
from upswell.settings import Slo
from upswell.simulator.world import World

if TYPE_CHECKING:
    from pathlib import Path

WORLD = World(slo=Slo(0.9, 10.0), start_delay=3.0)


def traffic(count: int = 200) -> Traffic:
    rng = np.random.default_rng(1)
    return Traffic(
        case="a <case> & more",
        arrivals=np.sort(rng.random(count) * 200),
        services=rng.exponential(1.0, count).clip(0, 8),
    )


def test_the_picture_names_every_policy_and_the_objective_and_stays_on_its_canvas() -> None:
    uploads = traffic()
    best = clairvoyant(uploads, WORLD, 1.0).result
    runs = [run_policy(uploads, WORLD, choice, best) for choice in choose_all("constant,keda,dask_adaptive")]
    text = picture(uploads, WORLD, runs, best)
    root = ET.fromstring(text)
    labels = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("keda", "dask_adaptive", runs[0].name, "clairvoyant"):
        assert name in labels
    assert labels[0].startswith("a <case> & more: 200 uploads, slo 90% < 10s")
    for element in root.iter("{http://www.w3.org/2000/svg}polyline"):
        for x, y in re.findall(r"([-\d.]+),([-\d.]+)", element.get("points", "")):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= HEIGHT
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize("count", [1, 2])
def test_one_policy_and_next_to_no_traffic_can_be_drawn(count: int) -> None:
    uploads = traffic(count)
    run = run_policy(uploads, WORLD, choose_all("slo")[0])
    root = ET.fromstring(picture(uploads, WORLD, [run], None))
    assert float(root.get("height", "0")) < HEIGHT


def test_a_plot_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    run = run_policy(traffic(), WORLD, choose_all("keda")[0])
    with pytest.raises(TraceError, match="the plot must be a writable file"):
        write_comparison(str(tmp_path / "none" / "plot.svg"), traffic(), WORLD, [run], None)


def test_an_axis_turns_values_into_places_and_keeps_outliers_at_its_ends() -> None:
    even = Axis(low=0, high=10, begin=100, end=200)
    ratio = Axis(low=0.01, high=1, begin=300, end=100, log=True)
    assert [even(value) for value in (0, 5, 10, 99, -1)] == [100, 150, 200, 200, 100]
    assert [round(ratio(value)) for value in (0.01, 0.1, 1, 0)] == [300, 200, 100, 300]


@pytest.mark.parametrize(("low", "high"), [(0, 7), (0, 0.3), (0, 1234), (0, 1)])
def test_ticks_are_round_few_and_within(low: float, high: float) -> None:
    ticks = even_ticks(low, high)
    assert 3 <= len(ticks) <= 12
    assert all(low <= tick <= high * 1.0001 for tick in ticks)
    steps = {round(after - before, 9) for before, after in pairwise(ticks)}
    assert len(steps) == 1
    assert round(steps.pop() / 10 ** math.floor(math.log10(ticks[1] - ticks[0] + 1e-12)), 6) in {1, 2, 5, 10}


def test_ticks_of_ratios_are_powers_of_ten_and_where_few_also_2_and_5() -> None:
    assert ratio_ticks(1e-4, 1) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])
    assert ratio_ticks(0.9, 12) == pytest.approx([1, 2, 5, 10])
