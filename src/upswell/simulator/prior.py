"""What is known of each setting before any traffic was rehearsed: what it cost and missed on many others.

In: the settings of a family, the start-up delay over the objective. Out: for each setting the cost expected,
in that of the best one, and the late uploads expected, in allowed ones. The numbers are in `prior.csv`, which
`scripts/learn_prior` makes. It must not know: the traffic at hand.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.policies.slo.staffing import Floats

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import StaffingSetting

RATIOS = (0.1, 0.35, 0.8)
"""Start-up delays over the objective between which traffic was learned apart."""
_UNKNOWN = (1.5, 1.0)
"""Cost and lateness of a setting that the table does not have: neither good nor bad."""


class SettingPrior(Struct, frozen=True):
    """Before anything was seen; entry i belongs to setting i."""

    cost: Floats
    """Geometric mean of the cost over that of the best setting."""
    late: Floats
    """Mean of late uploads over allowed ones."""


def group_of(ratio: float) -> int:
    """Return which traffic was like this: the number of bounds that the ratio reaches."""
    return bisect_right(RATIOS, ratio)


@cache
def setting_prior(settings: tuple[StaffingSetting, ...], group: int) -> SettingPrior:
    """Return what is expected of each setting where traffic is of a group."""
    table = _table()
    known = np.array([table.get(_key(setting), _NONE)[group] for setting in settings])
    return SettingPrior(known[:, 0].copy(), known[:, 1].copy())


def write(settings: tuple[StaffingSetting, ...], groups: list[SettingPrior]) -> str:
    """Return the table's text, a row a setting."""
    columns = [f"{name}_{group}" for group in range(len(groups)) for name in ("cost", "late")]
    lines = [",".join(("patience", "foresight", "beta", "keep", *columns))]
    for index, setting in enumerate(settings):
        numbers = [f"{value[index]:.3f}" for learned in groups for value in (learned.cost, learned.late)]
        lines.append(",".join((*_key(setting), *numbers)))
    return "\n".join(lines) + "\n"


def _key(setting: StaffingSetting) -> tuple[str, str, str, str]:
    beta = "" if setting.beta is None else f"{setting.beta:g}"
    return f"{setting.patience:g}", f"{setting.foresight:d}", beta, f"{setting.keep:g}"


@cache
def _table() -> dict[tuple[str, ...], list[tuple[float, float]]]:
    rows = csv.reader(files("upswell.simulator").joinpath("prior.csv").read_text().splitlines()[1:])
    found: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for row in rows:
        numbers = [float(value) for value in row[4:]]
        found[tuple(row[:4])] = list(zip(numbers[0::2], numbers[1::2], strict=True))
    return found


_NONE = [_UNKNOWN] * (len(RATIOS) + 1)
