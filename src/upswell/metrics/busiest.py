"""Which applications have series of their own: the busiest, the others share one. Pure.

Prometheus keeps each series for hours, so the choice must not swing: one application takes the place of
another only when it does twice as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

CLEARLY = 2.0
"""So many times as busy as the one whose place it takes."""


def busiest(shown: AbstractSet[str], activity: Mapping[str, float], most: int) -> frozenset[str]:
    """Return the applications to show, at most `most` of those in `activity`; `shown` are those until now."""
    if len(activity) <= most:
        return frozenset(activity)

    def most_active_first(apps: AbstractSet[str]) -> list[str]:
        return sorted(apps, key=lambda app: (-activity[app], app))

    kept = most_active_first(activity.keys() & shown)[:most]
    others = most_active_first(activity.keys() - set(kept))
    room = most - len(kept)
    chosen, others = kept + others[:room], others[room:]
    for place, challenger in zip(range(len(kept) - 1, -1, -1), others, strict=False):
        if activity[challenger] <= CLEARLY * activity[kept[place]]:
            break
        chosen[place] = challenger
    return frozenset(chosen)
