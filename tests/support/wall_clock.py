"""The wall clock of the commands that a test starts: it can be set, as an operator or NTP sets a machine's.

Python's `time.time` alone is set, which is all that Upswell asks for the time of day; the clocks that nobody
can set go on. It works by a `sitecustomize.py`, which every Python started with `environment` runs first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SITE = """
import pathlib
import time

_ahead, _real = pathlib.Path(__file__).with_name("ahead"), time.time
time.time = lambda: _real() + float(_ahead.read_text())
"""


class WallClock:
    """A clock in `folder`, which must be empty."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        (folder / "sitecustomize.py").write_text(_SITE)
        self.set(0.0)

    def set(self, ahead: float) -> None:
        """Have it show so many seconds more than the machine's."""
        new = self._folder / "new"
        new.write_text(str(ahead))
        new.replace(self._folder / "ahead")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that shall live by it; workers of the process fleet inherit them."""
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": f"{self._folder}:{before}" if before else str(self._folder)}
