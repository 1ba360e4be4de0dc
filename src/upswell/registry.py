"""One registry a seam: from a name in the settings to what stands behind it.

A name is one of the registry's own, one that an installed package adds by an entry point, or
`package.module:attribute`. Nothing is imported before it is asked for, so an extra that is not installed
costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from msgspec import Struct

from upswell.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PLACE = re.compile(r"\A(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)\Z")

Factory = TypeVar("Factory")


def installed(group: str) -> list[Any]:
    """Return the entry points that other packages add to a group."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - rarely asked, and slow to import

    return list(entry_points(group=group))


class Entry(Struct, frozen=True, kw_only=True):
    """One implementation of a seam; each place is `package.module:attribute`.

    `factory` makes it, `settings` is a Struct of its own settings, `check` is what `upswell doctor` asks,
    `extra` is what must be installed for it, `summary` is one line for `--help`.
    """

    name: str
    factory: str
    settings: str | None = None
    check: str | None = None
    extra: str | None = None
    summary: str = ""
    described: bool = True
    """False: found by its place alone, `package.module:name`, in a setting or an entry point."""


class Registry(Generic[Factory]):
    """All implementations of one seam.

    Args:
        seam: what one is called in messages, and the setting that names it: "policy".
        group: entry point group in which other packages add theirs, each a factory or an `Entry`.
        entries: those that come with Upswell.
    """

    def __init__(self, seam: str, group: str, entries: Iterable[Entry]) -> None:
        self.seam = seam
        self._group = group
        self._own = {entry.name: entry for entry in entries}

    def names(self) -> list[str]:
        """Return every name, those of other packages last."""
        return [*self._own, *sorted({point.name for point in installed(self._group)} - self._own.keys())]

    def entry(self, name: str) -> Entry:
        """Return what stands behind a name.

        Raises:
            SettingsError: nothing does; the message lists what there is.
        """
        if name in self._own:
            return self._own[name]
        if _PLACE.match(name):
            return _undescribed(name, name)
        for point in installed(self._group):
            if point.name == name:
                found = self._find(point.value, name)
                return found if isinstance(found, Entry) else _undescribed(name, point.value)
        names = self.names()
        raise SettingsError(
            f"{self.seam} must be one of {', '.join(names)}, or package.module:name, "
            f"got {name!r}{nearest(name, names)}"
        )

    def load(self, name: str) -> Factory:
        """Return the factory behind a name.

        Raises:
            SettingsError: there is none, its module cannot be imported, or its extra is not installed.
        """
        entry = self.entry(name)
        factory = self._find(entry.factory, name, entry.extra)
        if not callable(factory):
            raise SettingsError(f"{self.seam} {name} must be callable, got {type(factory).__name__}")
        return cast("Factory", factory)

    def settings_type(self, name: str) -> type[Struct] | None:
        """Return the Struct of an entry's own settings; None where it has none.

        Raises:
            SettingsError: as `load`.
        """
        entry = self.entry(name)
        return None if entry.settings is None else self._find(entry.settings, name, entry.extra)

    def check(self, name: str) -> Callable[..., Any] | None:
        """Return what `upswell doctor` asks of an entry; None where there is nothing to ask.

        Raises:
            SettingsError: as `load`.
        """
        entry = self.entry(name)
        return None if entry.check is None else self._find(entry.check, name, entry.extra)

    def _find(self, place: str, name: str, extra: str | None = None) -> Any:
        match = _PLACE.match(place)
        if match is None:
            raise SettingsError(f"{self.seam} {name} must be at package.module:name, got {place!r}")
        folder = os.getcwd()  # noqa: PTH109 - as sys.path has it
        if folder not in sys.path and "" not in sys.path:
            sys.path.insert(0, folder)  # the installed command looks where `python -m upswell` does
        try:
            module = importlib.import_module(match["module"])
        except Exception as error:  # whatever a user's own module raises
            if extra is not None and isinstance(error, ImportError):
                from upswell import extras  # noqa: PLC0415 - as above

                raise SettingsError(extras.needs(f"{self.seam} {name}", extra, error)) from error
            raise SettingsError(
                f"{self.seam} {name}: cannot import {match['module']} "
                f"(looked in {folder} and Python's path): {type(error).__name__}: {error}"
            ) from error
        try:
            return getattr(module, match["attribute"])
        except AttributeError:
            hint = nearest(match["attribute"], vars(module))
            raise SettingsError(
                f"{self.seam} {name}: {match['module']} has no {match['attribute']}{hint}"
            ) from None


def place_of(thing: object) -> str:
    """Return `module:name` of a function or class, as a setting names it; of an object, its class's name."""
    return f"{thing.__module__}:{getattr(thing, '__qualname__', type(thing).__name__)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or "" when no known name is similar."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _undescribed(name: str, place: str) -> Entry:
    return Entry(name=name, factory=place, described=False)
