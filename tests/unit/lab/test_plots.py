from __future__ import annotations

import doctest
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.recorded_journal import BEGIN, write_journal
from upswell.cli.journals import open_journal
from upswell.errors import TraceError
from upswell.lab import plots
from upswell.lab.contenders import choose_all
from upswell.lab.plots import check_ending, drawn_record, drawn_run, picture, write_comparison
from upswell.lab.recorded import read_recorded
from upswell.lab.runs import clairvoyant, run_policy
from upswell.lab.traffic import Traffic
from upswell.settings import Settings, Slo
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def our_style() -> Iterator[None]:
    with plots.style():
        yield


WORLD = World(slo=Slo(0.9, 10.0), start_delay=3.0)


def traffic(count: int = 200) -> Traffic:
    rng = np.random.default_rng(1)
    return Traffic(
        case="a <case> & $more",
        arrivals=np.sort(rng.random(count) * 200),
        services=rng.exponential(1.0, count).clip(0, 8),
    )


def drawn_of(names: str) -> list[plots.Drawn]:
    return [drawn_run(run_policy(traffic(), WORLD, choice)) for choice in choose_all(names)]


def axes_of(figure: Any) -> list[Any]:
    figure.draw_without_rendering()
    return [on for on in figure.get_axes() if on.get_visible()]


def test_the_example_in_the_docs_holds() -> None:
    assert doctest.testmod(plots).failed == 0


def test_every_policy_is_in_every_picture() -> None:
    names = "constant,keda,dask_adaptive,slo"
    drawn = drawn_of(names)
    axes = axes_of(picture(traffic(), WORLD, drawn, clairvoyant(traffic(), WORLD, 1.0).result))
    small, (slower, cost) = axes[:-2], axes[-2:]
    assert sorted(on.get_title(loc="left").split(",")[0] for on in small) == sorted(one.name for one in drawn)
    for on in (slower, cost):
        words = " ".join(text.get_text() for text in on.get_legend().get_texts())
        assert all(one.name in words for one in drawn)
    assert "clairvoyant" in words


def test_workers_are_drawn_as_steps_and_every_axis_has_three_ticks() -> None:
    for on in axes_of(picture(traffic(), WORLD, drawn_of("constant,keda,slo"))):
        for axis in (on.xaxis, on.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_majorticklocs() if low - 1e-9 <= tick <= high + 1e-9]
            assert len(ticks) >= 3, (on.get_title(loc="left"), ticks)
        if on.get_title(loc="left") in ("keda", "slo"):
            assert [line.get_drawstyle() for line in on.get_lines()] == ["steps-post"]


def test_no_text_lies_over_another() -> None:
    figure = picture(traffic(), WORLD, drawn_of("all"), clairvoyant(traffic(), WORLD, 1.0).result)
    boxes: list[Any] = []
    for on in axes_of(figure):
        texts = [on._left_title, on.xaxis.label, on.yaxis.label]
        for axis in (on.xaxis, on.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        legend = on.get_legend()
        texts += legend.get_texts() if legend else []
        boxes += [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    clashes = [
        (one, other)
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]
    assert clashes == []


def test_what_was_recorded_is_drawn_beside_what_was_replayed(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite")
    recorded = read_recorded(open_journal(str(tmp_path), Settings()), "e1")
    past = drawn_record(recorded, BEGIN, Slo(0.9, 10.0), 1)
    assert past.recorded
    assert past.workers.max() > 0
    assert past.answered[-1][1] <= 1.0
    axes = axes_of(picture(traffic(), WORLD, [past, *drawn_of("slo")]))
    assert {on.get_title(loc="left").split(",")[0] for on in axes[:2]} == {"recorded", "slo"}


@pytest.mark.parametrize("count", [1, 2])
def test_one_policy_and_next_to_no_traffic_can_be_drawn(count: int, tmp_path: Path) -> None:
    uploads = traffic(count)
    run = run_policy(uploads, WORLD, choose_all("slo")[0])
    write_comparison(str(tmp_path / "plot.svg"), uploads, WORLD, [drawn_run(run)])
    text = (tmp_path / "plot.svg").read_text()
    assert "a &lt;case&gt; &amp; $more" in text
    assert "slower" in text
    assert "further left is cheaper" not in text  # nothing to compare the cost with


def test_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        write_comparison(str(tmp_path / name), traffic(), WORLD, drawn_of("keda"))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_a_plot_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot write the plot"):
        write_comparison(str(tmp_path / "none" / "plot.svg"), traffic(), WORLD, drawn_of("keda"))
    with pytest.raises(TraceError, match=r"must end in \.svg, \.png or \.pdf, got plot\.gif"):
        check_ending("plot.gif")
