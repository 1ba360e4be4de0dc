"""The pictures of a simulation, in one file: SVG, PNG or PDF, by the file's ending.

The workers of each policy over time, on top of the demand; how many uploads took longer than a time; what
each policy cost against what it attained. Every policy is in every picture. The only importer of matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context  # type: ignore[reportUnknownVariableType] - its types are partly unknown
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, StrMethodFormatter
from msgspec import Struct

from upswell.errors import TraceError
from upswell.lab.oracle import work_curve

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from upswell.lab.oracle import OracleResult
    from upswell.lab.recorded import Recorded
    from upswell.lab.runs import Run
    from upswell.lab.traffic import Traffic
    from upswell.settings import Slo
    from upswell.simulator.world import World

    Floats = NDArray[np.float64]
    Axes = Any  # matplotlib's own types are partly unknown

STYLE: Any = {
    "font.size": 9,
    "axes.grid": True,
    "grid.color": "#e4e8ec",
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "upswell",  # the same figures give the same file
}
COLOURS = (
    "#0b6e99", "#d1495b", "#2e933c", "#b8720b", "#7b4fa3", "#4a5560", "#c2509b", "#148f8b",
    "#6b7a1e", "#8c3b2e", "#3d5fc4", "#9a8c98", "#5c8001", "#b5179e",
)  # fmt: skip
MARKERS = "osD^vP*Xph<>"
INK, DEMAND, MISSED, FORBIDDEN = "#1f2933", "#cfd8e0", "#c0392b", "#fdeeee"
FEWEST_SHOWN = 1e-4
"""Shares below this are drawn at it: 1 of 10,000."""
DEMAND_STEPS = 200
COLUMNS = 3
CUT = 2.0
"""The workers' axis ends at this multiple of the median policy's peak; who has more is cut there."""
FEWEST_TICKS = 3


class Drawn(Struct, frozen=True, kw_only=True):
    """One policy as the pictures show it: simulated, or the recorded past."""

    name: str
    at: Floats
    """Instants (s) from which on there were `workers`."""
    workers: Floats
    answered: Sequence[tuple[float, float]]
    """(seconds, share of all uploads answered within them)."""
    attainment: float
    cost_over_work: float | None
    recorded: bool = False


def drawn_run(run: Run) -> Drawn:
    """Return a simulated policy."""
    timeline = np.array(run.outcome.timeline, dtype=np.float64).reshape(-1, 4)
    return Drawn(
        name=run.name,
        at=timeline[:, 0],
        workers=timeline[:, 1],
        answered=run.response_times,
        attainment=run.outcome.attainment,
        cost_over_work=run.cost_over_work if math.isfinite(run.cost_over_work) else None,
    )


def drawn_record(recorded: Recorded, base: float, slo: Slo, slots: int) -> Drawn:
    """Return what was recorded; `base` is the instant at which the simulated time is 0."""
    responses = np.sort(np.array(recorded.responses, dtype=np.float64))
    shares = np.arange(1, len(responses) + 1) / max(1, len(responses) + recorded.dead)
    bill = recorded.bill(slo)
    work = recorded.traffic.work
    return Drawn(
        name="recorded",
        at=np.array([entry.at - base for entry in recorded.entries]),
        workers=np.array([entry.snapshot.workers.running for entry in recorded.entries], dtype=np.float64),
        answered=list(zip(responses.tolist(), shares.tolist(), strict=True)),
        attainment=recorded.attainment(slo),
        cost_over_work=bill.worker_seconds * slots / work if bill and work else None,
        recorded=True,
    )


def write_comparison(
    path: str, traffic: Traffic, world: World, drawn: Sequence[Drawn], best: OracleResult | None = None
) -> None:
    """Draw these policies, the best first.

    Raises:
        TraceError: the file cannot be written.
    """
    with style():
        save(picture(traffic, world, drawn, best), path)


def style() -> AbstractContextManager[None]:
    """Return the look of all our pictures, to draw and save them in."""
    return rc_context(STYLE)


def check_ending(path: str) -> None:
    """Raise a TraceError unless the name of a file says what it is to be."""
    if Path(path).suffix.lower() not in (".svg", ".png", ".pdf"):
        raise TraceError(f"the plot must end in .svg, .png or .pdf, got {path}")


def save(figure: Any, path: str | Path) -> None:
    """Write a figure without its date, so that the same code draws the same file.

    Raises:
        TraceError: the file cannot be written.
    """
    dateless: Any = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower())
    try:
        figure.savefig(path, metadata=dateless, dpi=110)
    except OSError as error:
        raise TraceError(f"cannot write the plot {path}: {error.strerror}") from error


def picture(
    traffic: Traffic, world: World, drawn: Sequence[Drawn], best: OracleResult | None = None
) -> Figure:
    """Return the pictures in one figure."""
    share = world.slo.share
    ordered = sorted(drawn, key=lambda one: (one.attainment < share, one.cost_over_work or math.inf))
    rows = -(-len(ordered) // COLUMNS)
    alone = len(ordered) == 1 and best is None  # nothing to compare its cost with
    heights = [1.9 * rows + 0.5, 3.2, *([] if alone else [3.2])]
    figure: Any = Figure(figsize=(10, sum(heights) + 0.6), layout="constrained")
    title = f"{traffic.case}: {len(traffic.arrivals):,} uploads, slo {world.slo}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold", parse_math=False)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _over_time(parts[0], rows, traffic, world, ordered)
    _slower_than(parts[1].subplots(), world.slo, ordered)
    if not alone:
        _cost_against_attainment(parts[2].subplots(), world.slo, ordered, best)
    return figure


def _look(index: int, one: Drawn) -> dict[str, Any]:
    """Return how a policy is drawn, alike in every picture."""
    if one.recorded:
        return {"color": INK, "linestyle": "--"}
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": "-" if index < len(COLOURS) else ":",
    }


def _over_time(part: Any, rows: int, traffic: Traffic, world: World, ordered: Sequence[Drawn]) -> None:
    """Draw a small picture for each policy, all on the same axes: its workers on top of the demand."""
    begin = float(np.floor(traffic.arrivals[0]))
    end = max(float(traffic.arrivals[-1]), begin + 1, *(float(one.at[-1]) for one in ordered if len(one.at)))
    unit, unit_name = time_unit(end - begin)
    edges = np.linspace(begin, end, DEMAND_STEPS + 1)
    demand = np.diff(work_curve(edges, traffic.arrivals, traffic.services)) / np.diff(edges) / world.slots
    peaks = [float(one.workers.max(initial=0.0)) for one in ordered]
    high = max(2.0, min(max(*peaks, float(demand.max())), CUT * float(np.median(peaks)))) * 1.06
    columns = min(COLUMNS, len(ordered))
    axes = part.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    part.suptitle("Workers over time, on top of the demand (grey)", x=0.01, ha="left", fontsize=10)
    for index, (one, on) in enumerate(zip(ordered, axes.flat, strict=False)):
        on.stairs(demand, (edges - begin) / unit, fill=True, color=DEMAND)
        steps(on, (one.at - begin) / unit, one.workers, (end - begin) / unit, **_look(index, one))
        cut = f", peak {peaks[index]:,.0f} not shown" if peaks[index] > high else ""
        on.set_title(f"{one.name}{cut}", parse_math=False)
        on.tick_params(labelbottom=index + columns >= len(ordered))
    for on in list(axes.flat)[len(ordered) :]:
        on.set_visible(False)
    first = axes[0, 0]
    first.set_xlim(0, (end - begin) / unit)
    first.set_ylim(0, high)
    first.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=FEWEST_TICKS))
    first.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=FEWEST_TICKS))
    part.supxlabel(unit_name, fontsize=9)
    part.supylabel("workers", fontsize=9)


def steps(on: Axes, at: Floats, values: Floats, until: float, **look: Any) -> None:
    """Draw a value that stays until the next instant, as steps; only its changes are written to the file."""
    if not len(at):
        return
    changed = np.append(True, np.diff(values) != 0)
    on.step(
        np.append(at[changed], until),
        np.append(values[changed], values[-1]),
        where="post",
        linewidth=1.4,
        **look,
    )


def _slower_than(on: Axes, slo: Slo, ordered: Sequence[Drawn]) -> None:
    most = 2 * slo.seconds
    on.set_title("Share of the uploads slower than a response time")
    on.fill_between([slo.seconds, most], 1 - slo.share, 1, color=FORBIDDEN, linewidth=0)
    on.axvline(slo.seconds, color=MISSED, linestyle=":", linewidth=1)
    on.axhline(1 - slo.share, color=MISSED, linestyle=":", linewidth=1, label=f"misses slo {slo}")
    for index, one in enumerate(ordered):
        inside = [point for point in one.answered if point[0] <= most]
        within = inside[-1][1] if inside else 0.0
        at = [0.0, *(seconds for seconds, _ in inside), most]
        slower = [1.0, *(1 - share for _, share in inside), 1 - within]
        on.step(at, np.maximum(slower, FEWEST_SHOWN), where="post", label=one.name, **_look(index, one))
    on.set(xlim=(0, most), ylim=(FEWEST_SHOWN, 1), yscale="log")
    on.set(xlabel="response time, seconds", ylabel="share slower")
    on.xaxis.set_major_locator(MaxNLocator(8, min_n_ticks=FEWEST_TICKS))
    _percent_ticks(on, lambda share: share)
    _legend(on)


def _cost_against_attainment(on: Axes, slo: Slo, ordered: Sequence[Drawn], best: OracleResult | None) -> None:
    costs = [one.cost_over_work for one in ordered if one.cost_over_work]
    costs += [best.cost_over_work] if best else []
    low, high = min(costs, default=1.0) / 1.1, max(costs, default=1.0) * 1.1
    on.set_title("Cost against attainment: further left is cheaper, higher is more reliable")
    on.axhspan(1 - slo.share, 1, color=FORBIDDEN, linewidth=0)
    on.axhline(1 - slo.share, color=MISSED, linestyle=":", linewidth=1, label=f"misses slo {slo}")
    if best is not None:
        late = max(1 - best.attainment, FEWEST_SHOWN)
        on.axvline(best.cost_over_work, color=INK, linestyle=":", linewidth=1)
        on.plot(
            best.cost_over_work, late, "o", color=INK, fillstyle="none", label="clairvoyant", clip_on=False
        )
    for index, one in enumerate(ordered):
        if one.cost_over_work:
            late = max(1 - one.attainment, FEWEST_SHOWN)
            marker = "x" if one.recorded else MARKERS[index % len(MARKERS)]
            look = {"color": _look(index, one)["color"], "marker": marker, "clip_on": False}
            words = f"{one.name}: {one.attainment:.2%}, {one.cost_over_work:.3g} x work"
            on.plot(one.cost_over_work, late, linestyle="", label=words, **look)
        else:
            on.plot([], [], linestyle="", label=f"{one.name}: its cost is not known")
    on.set(xlim=(low, high), ylim=(1, FEWEST_SHOWN), xscale="log", yscale="log")
    on.set(xlabel="billed time over useful work", ylabel="attained")
    on.xaxis.set_major_locator(FixedLocator(ratio_ticks(low, high)))
    on.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    on.xaxis.set_minor_locator(NullLocator())
    _percent_ticks(on, lambda share: 1 - share)
    _legend(on)


def _legend(on: Axes) -> None:
    legend = on.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), fontsize=8, labelspacing=0.35)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _percent_ticks(on: Axes, shown: Callable[[float], float]) -> None:
    on.yaxis.set_major_locator(FixedLocator([1e-4, 1e-3, 1e-2, 0.1, 1]))

    def percent(value: float, _: int | None) -> str:
        return f"{100 * shown(value):.6g}%"

    on.yaxis.set_major_formatter(FuncFormatter(percent))
    on.yaxis.set_minor_locator(NullLocator())


def ratio_ticks(low: float, high: float) -> list[float]:
    """Return three or more round values from `low` to `high`: 1, 2, 5 times the powers of ten, or even steps.

    >>> ratio_ticks(0.9, 12.0)
    [1.0, 2.0, 5.0, 10.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [unit * 10.0**power for power in powers for unit in (1, 2, 5)]
    within = [tick for tick in ticks if low <= tick <= high]
    if len(within) >= FEWEST_TICKS:
        return within
    even: Any = MaxNLocator(5, min_n_ticks=FEWEST_TICKS).tick_values(low, high)
    return [float(tick) for tick in even if low <= tick <= high]


def time_unit(span: float) -> tuple[float, str]:
    """Return the seconds of the unit that suits a span of time, and its name."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span >= 3 * unit:
            return unit, name
    return 1.0, "seconds"
