"""The nearest known name to one that is unknown."""

from __future__ import annotations

import difflib
from typing import Any


def nearest(name: str, known: Any) -> str:
    """Return `; did you mean X?`, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
