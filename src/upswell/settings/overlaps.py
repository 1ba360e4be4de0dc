"""Which applications store in the same place, where objects of the same key overwrite each other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.settings.applications import Settings


class Overlap(Struct, frozen=True):
    """Two applications, and the destination of the second, which is that of the first or lies in it."""

    outer: str
    inner: str
    destination: str

    def __str__(self) -> str:
        """Return it as a warning that says what to do."""
        return (
            f"{self.outer} and {self.inner} both store in {safe(self.destination)}, so objects of the same "
            "key overwrite each other: give each its own destination, for example one that ends in "
            "/{app_id}"
        )


def overlapping_destinations(settings: Settings) -> list[Overlap]:
    """Return the pairs of applications of which one may overwrite what the other stores."""
    places: dict[str, tuple[str, ...]] = {}
    shown: dict[str, str] = {}
    for app_id in settings.apps:
        own = settings.for_app(app_id)
        if own.handler != "simulate":  # which stores nothing
            places[app_id] = _place(own)
            shown[app_id] = own.destination
    found: list[Overlap] = []
    for one, other in combinations(places, 2):
        outer, inner = (one, other) if len(places[one]) <= len(places[other]) else (other, one)
        if places[inner][: len(places[outer])] == places[outer]:
            found.append(Overlap(outer, inner, shown[inner]))
    return found


def _place(own: Settings) -> tuple[str, ...]:
    """Return a destination as a path of names, the outermost first."""
    scheme, mark, rest = own.destination.partition("://")
    if mark and scheme.lower() != "file":
        return (scheme.lower(), own.store_endpoint, *rest.strip("/").split("/"))
    return ("file", *Path(rest if mark else own.destination).expanduser().absolute().parts)
