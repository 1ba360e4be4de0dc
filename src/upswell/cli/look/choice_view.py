"""How `upswell explain --choice` shows a setting that was chosen: the sentence, a picture, the frontier.

In: a row of the journal. Out: lines of text. It draws with letters, so that it works at every terminal.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from upswell.cli.text import moment
from upswell.policies.slo.staffing import FAMILY
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.journal import ChoiceRow

_WIDTH, _HEIGHT = 64, 12
_MOST_SHOWN = 3.0
"""Late uploads over allowed ones, and cost over the least, that the picture reaches."""


def choice_lines(row: ChoiceRow) -> list[str]:
    """Return what is known of a choice."""
    costs, late = numbers(row.costs), numbers(row.late)
    lines = [f"{row.app_id}, {moment(row.at)}: {safe(row.why)}"]
    if not costs:
        return lines
    frontier = _frontier(costs, late)
    return [
        *lines,
        "",
        *_picture(row, costs, late),
        "",
        f"{row.uploads:,.0f} uploads under the settings, of {len(costs)}, that no other beats in both:",
        f"  {'worker-hours':>12}  {'late':>8}  {'in time':>8}  setting",
        *(_line(row, index, costs[index], late[index]) for index in frontier),
    ]


def numbers(packed: bytes) -> list[float]:
    """Return what a column of the journal holds, a number a setting."""
    values = array("f")
    values.frombytes(packed)
    return values.tolist()


def _frontier(costs: list[float], late: list[float]) -> list[int]:
    """Return the settings that no other beats in both, the cheapest first."""
    found: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], late[i])):
        if not found or late[index] < late[found[-1]]:
            found.append(index)
    return found


def _line(row: ChoiceRow, index: int, cost: float, late: float) -> str:
    setting = str(FAMILY[index]) if index < len(FAMILY) else f"setting {index}"
    mark = " <- followed" if index == row.chosen else " <- before" if index == row.before else ""
    in_time = 1 - late / row.uploads
    return f"  {cost / 3600:>12.3g}  {late:>8,.0f}  {in_time:>8.2%}  {setting}{mark}"


def _picture(row: ChoiceRow, costs: list[float], late: list[float]) -> list[str]:
    """Return a plot: cost to the right, late uploads upwards, a line where the objective ends."""
    least = min(costs)
    if least <= 0 or row.allowed <= 0:
        return []
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    line = _row_of(1.0)
    grid[line] = ["-"] * _WIDTH
    marks = [(index, ".") for index in range(len(costs))]
    marks += [(row.before, "o")] if row.before != row.chosen else []
    for index, mark in (*marks, (row.chosen, "X")):
        x = (costs[index] / least - 1) / (_MOST_SHOWN - 1)
        if x <= 1:
            grid[_row_of(late[index] / row.allowed)][round(x * (_WIDTH - 1))] = mark
    labels = {0: f"{_MOST_SHOWN:g} x allowed", line: "allowed", _HEIGHT - 1: "none late"}
    rows = [f"{labels.get(y, ''):>12} |{''.join(cells)}".rstrip() for y, cells in enumerate(grid)]
    scale = f"{'cheapest':<{_WIDTH - 20}}{f'{_MOST_SHOWN:g} x as expensive':>20}"
    return [
        *rows,
        f"{'':>12} +{'-' * _WIDTH}",
        f"{'':>14}{scale}",
        f"{'':>14}X followed, o before, . other settings",
    ]


def _row_of(used: float) -> int:
    return _HEIGHT - 1 - round(min(used, _MOST_SHOWN) / _MOST_SHOWN * (_HEIGHT - 1))
