"""The settings that decisions depend on: a monitor tells them to its journal, a replay takes them from there.

In: settings, or a journal. Out: the same in the other form. A setting that is not known any more is let pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import JournalError
from upswell.settings import DECIDING, Settings

if TYPE_CHECKING:
    from upswell.journal import Journal, JournalReader


def remember(journal: Journal, settings: Settings) -> None:
    """Tell a journal what each application of the settings is scaled under."""
    journal.remember_settings({app: _of(settings.for_app(app)) for app in settings.apps})


def _of(own: Settings) -> dict[str, Any]:
    values = {name: getattr(own, name) for name in DECIDING}
    if own.rules_file:  # a replay may run in another folder
        values["rules_file"] = str(Path(own.rules_file).expanduser().absolute())
    return values


def recall(journal: JournalReader, app: str) -> Settings | None:
    """Return what an application was scaled under; None where the journal does not tell.

    Raises:
        JournalError: a value is none of its setting.
    """
    values = journal.settings(app)
    if not values:
        return None
    known = {name: value for name, value in values.items() if name in DECIDING}
    try:
        return msgspec.convert(known, Settings)
    except msgspec.ValidationError as error:
        raise JournalError(f"the journal's settings of {app} are from another version: {error}") from error
