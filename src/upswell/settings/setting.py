"""What is said of a setting beside its type and default; everything that lists settings is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable


class Setting(Struct, frozen=True):
    """What a field of a settings Struct is for: `slots: Annotated[int, Setting("Uploads at once.")] = 4`.

    Args:
        text: what it is for, its unit, and what its special values mean.
        app: whether an application's own table may hold it.
        decides: whether decisions depend on it: a journal keeps it, and a replay takes it from there.
        flags: the commands that take it as a flag.
        path: whether it names a file or folder, which is made absolute for a worker.
        separator: of a list: what separates its values in a variable.
        form: the rule in plain words, where it is a pattern.
        variable: its environment variable, where that is not `UPSWELL_` and its name.
    """

    text: str
    app: bool = False
    decides: bool = False
    flags: tuple[str, ...] = ()
    path: bool = False
    separator: str = ""
    form: str = ""
    variable: str = ""


def settings_of(struct: type[Struct]) -> dict[str, Setting]:
    """Return what is said of each field, in order; a field of a foreign Struct may say nothing."""
    return {name: _said(hint) or Setting("") for name, hint in hints(struct).items()}


def hints(struct: type[Struct]) -> dict[str, Any]:
    """Return the type of each field, in order, with its rules."""
    if struct not in _hints:  # resolving annotations takes milliseconds
        resolved = get_type_hints(struct, include_extras=True)
        _hints[struct] = {name: resolved[name] for name in struct.__struct_fields__}
    return _hints[struct]


_hints: dict[type[Struct], dict[str, Any]] = {}


def choices(hint: Any) -> list[str]:
    """Return the words among which a setting chooses; none where it is no such setting."""
    inner = get_args(hint)
    if inner and all(isinstance(value, str) for value in inner):
        return list(inner)
    return [word for value in inner for word in choices(value)]


def _said(hint: Any) -> Setting | None:
    marks: Iterable[Any] = getattr(hint, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, Setting)), None)
