"""A setting that was chosen, as the journal keeps it: 1.5 kB with what each of 178 settings would have cost.

In: the choice of a rehearsal. Out: a row.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from upswell.journal import ChoiceRow

if TYPE_CHECKING:
    from upswell.simulator.application_rehearsal import SettingChoice


def choice_row(choice: SettingChoice, at: float) -> ChoiceRow:
    """Return the row of a choice made at an instant."""
    frontier = choice.frontier
    return ChoiceRow(
        app_id=choice.app_id,
        at=at,
        chosen=choice.index,
        before=choice.before,
        setting=choice.setting,
        why=choice.why,
        uploads=frontier.uploads if frontier else 0.0,
        allowed=frontier.allowed if frontier else 0.0,
        costs=array("f", frontier.costs).tobytes() if frontier else b"",
        late=array("f", frontier.late).tobytes() if frontier else b"",
    )
