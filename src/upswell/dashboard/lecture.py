"""A demo's story for its audience: what is on the stage, and a caption for each event.

In: captions as the demo tells them. Out: the newest, for the page. The page pauses and steps by itself, on
what is recorded: the loop goes on meanwhile.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import Struct

MOST_CAPTIONS = 200


class Caption(Struct, frozen=True):
    """What happens from an instant on, in a few words and in a sentence; without `app` it is of all."""

    at: float
    title: str
    text: str
    app: str = ""


class Lecture:
    """The stage: the applications side by side, each with the name it is shown under."""

    def __init__(self, apps: dict[str, str]) -> None:
        self.apps = apps
        self.over = False  # once nothing runs any more: what is shown from then on is the record
        self._captions: deque[Caption] = deque(maxlen=MOST_CAPTIONS)

    def say(self, at: float, title: str, text: str, app: str = "") -> None:
        """Add a caption."""
        self._captions.append(Caption(at, title, text, app))

    def told(self) -> dict[str, Any]:
        """Return the stage and its captions for JSON."""
        return {"apps": self.apps, "captions": list(self._captions)}
