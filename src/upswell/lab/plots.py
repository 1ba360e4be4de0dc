"""The three pictures of a simulation, in one SVG file.

Demand and workers over time; how many uploads were slower than a time, against the objective; what each
policy cost against what it attained, the clairvoyant in the corner.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upswell.errors import TraceError
from upswell.lab.oracle import work_curve
from upswell.lab.svg import CHARACTER, FAINT, INK, Axis, Canvas, Panel, even_ticks, ratio_ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upswell.lab.oracle import OracleResult
    from upswell.lab.runs import Run
    from upswell.lab.traffic import Traffic
    from upswell.simulator.world import World

    Box = tuple[float, float, float, float]

WIDTH, HEIGHT, PANEL_HEIGHT = 1000, 1130, 250
LEFT, RIGHT = 86, 800
COLUMNS = 340
"""Points of a line over time: half as many as it has pixels."""
COLOURS = (
    "#0b6e99", "#d1495b", "#2e933c", "#b8720b", "#7b4fa3", "#4a5560", "#c2509b", "#148f8b",
    "#6b7a1e", "#8c3b2e", "#3d5fc4", "#9a8c98",
)  # fmt: skip
DEMAND, MISSED = "#cfd8e0", "#c0392b"
FEWEST_SHOWN = 1e-4
"""Shares below this are drawn at it: 1 of 10,000."""
OVER_TIME = 4
"""Policies in the first picture; more cannot be told apart."""
SCALED = 2
"""So many of them, the best, decide how high that picture is."""
SLOWEST = 8
"""Policies in the second picture."""


def write_comparison(
    path: str, traffic: Traffic, world: World, runs: list[Run], best: OracleResult | None
) -> None:
    """Write the pictures of these runs.

    Raises:
        TraceError: the file cannot be written.
    """
    text = picture(traffic, world, runs, best)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise TraceError(f"the plot must be a writable file: {path}: {error.strerror}") from error


def picture(traffic: Traffic, world: World, runs: list[Run], best: OracleResult | None) -> str:
    """Return the pictures as SVG."""
    title = f"{traffic.case}: {len(traffic.arrivals):,} uploads, slo {world.slo}"
    alone = len(runs) == 1 and best is None  # nothing to compare its cost with
    canvas = Canvas(WIDTH, HEIGHT - (PANEL_HEIGHT + 105 if alone else 0), title)
    canvas.label((LEFT, 34), title, size=17, bold=True)
    colours = {run.asked: COLOURS[index % len(COLOURS)] for index, run in enumerate(_ordered(runs, world))}
    _over_time(canvas, _top(1), traffic, world, _ordered(runs, world)[:OVER_TIME], colours)
    _slower_than(canvas, _top(2), world, _ordered(runs, world)[:SLOWEST], colours)
    if not alone:
        _cost_against_attainment(canvas, _top(3), world, runs, best, colours)
    return canvas.text()


def _top(number: int) -> float:
    return 90 + (number - 1) * (PANEL_HEIGHT + 105)


def _ordered(runs: list[Run], world: World) -> list[Run]:
    """Return the best first: those that met the objective, then by cost."""
    missed = world.slo.share
    return sorted(runs, key=lambda run: (run.outcome.attainment < missed, run.cost_over_work))


def _over_time(  # noqa: PLR0917 - a picture has many parts
    canvas: Canvas, top: float, traffic: Traffic, world: World, runs: list[Run], colours: dict[str, str]
) -> None:
    begin = float(np.floor(traffic.arrivals[0]))
    end = max(
        [
            float(traffic.arrivals[-1]),
            begin + 1,
            *(run.outcome.timeline[-1][0] for run in runs if run.outcome.timeline),
        ]
    )
    edges = np.linspace(begin, end, COLUMNS + 1)
    done = work_curve(edges, traffic.arrivals, traffic.services)
    demand = np.diff(done) / np.diff(edges) / world.slots
    lines = {run.asked: _most_in_each(run, edges) for run in runs}
    highest = [max(float(demand.max()), float(line.max())) for line in lines.values()]
    most = max(1.0, *highest[:SCALED])  # a dear one must not flatten the others: its line is cut
    cut = " (cut at the top)" if max(highest) > most else ""
    unit, name = _time_unit(end - begin)
    x = Axis(low=begin, high=end, begin=LEFT, end=RIGHT)
    y = Axis(low=0, high=most * 1.05, begin=top + PANEL_HEIGHT, end=top)
    panel = Panel(canvas, f"Demand, and the workers that each policy had{cut}", x, y)
    panel.grid(
        [begin + tick * unit for tick in even_ticks(0, (end - begin) / unit)],
        even_ticks(0, most * 1.05, 5) if most > 5 else list(range(int(most) + 1)),  # noqa: PLR2004 - whole workers
        x_text=lambda tick: f"{(tick - begin) / unit:g}",
        y_text=lambda tick: f"{tick:g}",
        x_title=name,
        y_title="workers",
    )
    middles = (edges[1:] + edges[:-1]) / 2
    outline = [(x(at), y(value)) for at, value in zip(middles, demand, strict=True)]
    canvas.area(
        [(LEFT, y.begin), (LEFT, outline[0][1]), *outline, (RIGHT, outline[-1][1]), (RIGHT, y.begin)],
        colour=DEMAND,
    )
    panel.name("demand", DEMAND, filled=True)
    for run in reversed(runs):
        line = [(x(at), y(value)) for at, value in zip(middles, lines[run.asked], strict=True)]
        canvas.path(line, colour=colours[run.asked], width=2.2 if run is runs[0] else 1.5)
    for run in runs:
        panel.name(run.name, colours[run.asked])


def _most_in_each(run: Run, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most workers in each stretch of time, and where nothing was decided those before."""
    timeline = np.array(run.outcome.timeline, dtype=np.float64)
    line = np.full(len(edges) - 1, -1.0)
    if len(timeline):
        places = np.clip(np.searchsorted(edges, timeline[:, 0], side="right") - 1, 0, len(line) - 1)
        np.maximum.at(line, places, timeline[:, 1])
    present = np.maximum.accumulate(np.where(line >= 0, np.arange(len(line)), -1))
    first = line[line >= 0][0] if (line >= 0).any() else 0.0
    return np.where(present >= 0, line[present], first)


def _slower_than(canvas: Canvas, top: float, world: World, runs: list[Run], colours: dict[str, str]) -> None:
    slo = world.slo
    x = Axis(low=0, high=2 * slo.seconds, begin=LEFT, end=RIGHT)
    y = Axis(low=FEWEST_SHOWN, high=1, begin=top + PANEL_HEIGHT, end=top, log=True)
    panel = Panel(canvas, "Uploads slower than a response time", x, y)
    # The forbidden corner: more than the share allowed, slower than the objective.
    canvas.box((x(slo.seconds), top), RIGHT - x(slo.seconds), y(1 - slo.share) - top, colour="#fdeeee")
    panel.grid(
        even_ticks(0, 2 * slo.seconds, 8),
        ratio_ticks(FEWEST_SHOWN, 1),
        x_text=lambda tick: f"{tick:g}",
        y_text=lambda tick: f"{tick * 100:g}%",
        x_title="response time, seconds",
        y_title="share slower",
    )
    corner = (x(slo.seconds), y(1 - slo.share))
    canvas.line((corner[0], top), (corner[0], y.begin), colour=MISSED, dashes="5 4")
    canvas.line((LEFT, corner[1]), (RIGHT, corner[1]), colour=MISSED, dashes="5 4")
    canvas.label((RIGHT - 6, top + 18), f"misses slo {slo}", anchor="end", colour=MISSED)
    for run in reversed(runs):
        points = [
            (x(seconds), y(1 - share)) for seconds, share in run.response_times if seconds <= 2 * slo.seconds
        ]
        if run.response_times and run.response_times[-1][0] > 2 * slo.seconds:
            beyond = next(share for seconds, share in run.response_times if seconds > 2 * slo.seconds)
            points.append((RIGHT, y(1 - beyond)))
        canvas.path(points, colour=colours[run.asked], width=2.2 if run is runs[0] else 1.5)
    for run in runs:
        panel.name(run.name, colours[run.asked])


def _cost_against_attainment(  # noqa: PLR0917 - as above
    canvas: Canvas,
    top: float,
    world: World,
    runs: list[Run],
    best: OracleResult | None,
    colours: dict[str, str],
) -> None:
    costs = [run.cost_over_work for run in runs if np.isfinite(run.cost_over_work) and run.cost_over_work > 0]
    ideal = best.cost_over_work if best else 1.0
    low, high = min([ideal, *costs]) / 1.15, max([ideal, *costs]) * 1.35
    allowed = 1 - world.slo.share
    x = Axis(low=low, high=high, begin=LEFT, end=RIGHT, log=True)
    y = Axis(low=FEWEST_SHOWN, high=1, begin=top, end=top + PANEL_HEIGHT, log=True)
    panel = Panel(
        canvas,
        "Cost against attainment: left is cheap, high is reliable",
        Axis(low=low, high=high, begin=LEFT, end=RIGHT, log=True),
        Axis(low=FEWEST_SHOWN, high=1, begin=top + PANEL_HEIGHT, end=top, log=True),
    )
    canvas.box((LEFT, y(allowed)), RIGHT - LEFT, y.end - y(allowed), colour="#fdeeee")
    for tick in ratio_ticks(FEWEST_SHOWN, 1):
        canvas.line((LEFT, y(tick)), (RIGHT, y(tick)))
        canvas.label((LEFT - 8, y(tick) + 4), f"{(1 - tick) * 100:.4g}%", anchor="end", colour=FAINT)
    panel.grid(
        ratio_ticks(low, high), [], x_text=lambda tick: f"{tick:g}", y_text=str,
        x_title="billed time over useful work", y_title="attained",
    )  # fmt: skip
    canvas.line((LEFT, y(allowed)), (RIGHT, y(allowed)), colour=MISSED, dashes="5 4")
    canvas.label((RIGHT - 6, y.end - 8), f"misses slo {world.slo}", anchor="end", colour=MISSED)
    dots = [
        ((x(run.cost_over_work), y(1 - run.outcome.attainment)), run.name, colours[run.asked]) for run in runs
    ]
    taken: list[Box] = [(at[0] - 7, at[1] - 7, at[0] + 7, at[1] + 7) for at, _, _ in dots]
    taken.append((LEFT, y(allowed) - 1, RIGHT, y(allowed) + 1))
    taken.append((RIGHT - 150, y.end - 20, RIGHT, y.end))
    if best is not None:
        at = (x(best.cost_over_work), y(1 - best.attainment))
        canvas.line((at[0], top), (at[0], y.end), colour=INK, dashes="2 4")
        canvas.dot(at, colour=INK, radius=6, hollow=True)
        taken.append((at[0] - 8, at[1] - 8, at[0] + 8, at[1] + 8))
        _place_name(canvas, at, "clairvoyant", INK, taken)
    for at, name, colour in sorted(dots, key=lambda dot: dot[0]):
        canvas.dot(at, colour=colour)
        _place_name(canvas, at, name, colour, taken)


def _place_name(canvas: Canvas, at: tuple[float, float], name: str, colour: str, taken: list[Box]) -> None:
    """Write a name beside its dot, where nothing stands yet."""
    width = len(name) * CHARACTER + 4
    places = [(at[0] + 10, at[1] + 4), (at[0] - 10 - width, at[1] + 4)]
    places += [
        (at[0] + dx, at[1] + dy) for dy in (-12, 20, -26, 34, -40, 48) for dx in (6, -width / 2, -width - 6)
    ]

    def covered(place: tuple[float, float]) -> float:
        left, bottom = place
        box = (left, bottom - 11, left + width, bottom + 3)
        outside = max(0.0, LEFT - left) + max(0.0, left + width - WIDTH)
        return sum(_overlap(box, other) for other in taken) + 100 * outside

    best = min(places, key=covered)
    taken.append((best[0], best[1] - 11, best[0] + width, best[1] + 3))
    canvas.label(best, name, colour=colour)


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _time_unit(span: float) -> tuple[float, str]:
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span >= 3 * unit:
            return unit, name
    return 1.0, "seconds"
