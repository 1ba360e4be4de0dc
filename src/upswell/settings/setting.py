"""The metadata of a setting besides its type and default; every list of settings is generated from it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable


class Setting(Struct, frozen=True):
    """What a field of a settings Struct is for: `slots: Annotated[int, Setting("Uploads at once.")] = 4`.

    Args:
        text: purpose, unit, and meaning of special values.
        app: whether an application's table may set it.
        decides: whether decisions depend on it; the journal records it for replay.
        flags: commands that offer it as a flag.
        path: whether it is a file or folder; made absolute for workers.
        separator: for a list: what separates its values in an environment variable.
        form: the rule in plain words, if it is a pattern.
        url: whether it is a server's URL, which may contain a password: such a value is shown masked.
        secret: whether it may contain one: its value is shown nowhere, and no worker receives it.
        variable: its environment variable, if not `UPSWELL_` plus its name.
    """

    text: str
    app: bool = False
    decides: bool = False
    flags: tuple[str, ...] = ()
    path: bool = False
    separator: str = ""
    form: str = ""
    url: bool = False
    secret: bool = False
    variable: str = ""


def settings_of(struct: type[Struct]) -> dict[str, Setting]:
    """Return the metadata of each field, in order; empty for fields without any."""
    return {name: _said(hint) or Setting("") for name, hint in hints(struct).items()}


@cache  # resolving annotations takes milliseconds
def hints(struct: type[Struct]) -> dict[str, Any]:
    """Return the type of each field, in order, with its rules."""
    resolved = get_type_hints(struct, include_extras=True)
    return {name: resolved[name] for name in struct.__struct_fields__}


def choices(hint: Any) -> list[str]:
    """Return the allowed words of a setting; empty if it is not a choice."""
    inner = get_args(hint)
    if inner and all(isinstance(value, str) for value in inner):
        return list(inner)
    return [word for value in inner for word in choices(value)]


def _said(hint: Any) -> Setting | None:
    marks: Iterable[Any] = getattr(hint, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, Setting)), None)
