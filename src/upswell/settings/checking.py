"""From values as they were written to a checked Struct; each error says the rule and the value."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from upswell.errors import SettingsError
from upswell.safe import safe
from upswell.settings.setting import choices, hints, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Checked = TypeVar("Checked", bound=Struct)

_TYPES = {
    "`int`": "a whole number", "`float`": "a number", "`bool`": "true or false", "`str`": "text",
    "`array`": "a list", "`object`": "a table", " | `null`": "",
}  # fmt: skip


def build(struct: type[Checked], values: Mapping[str, Any], where: str = "") -> Checked:
    """Return the Struct that holds `values`; `where` stands before a setting's name in errors.

    Text is read as what the field is: a number, a list whose values are separated, a table in JSON.

    Raises:
        SettingsError: a name is unknown, or a value breaks its rule.
    """
    types, said = hints(struct), settings_of(struct)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            raise SettingsError(f"unknown setting: {where}{name}{nearest(name, types)}")
        setting = said[name]
        if setting.separator and isinstance(value, str):
            value = [part for part in value.split(setting.separator) if part]  # noqa: PLW2901 - the same value
        try:
            checked[name] = msgspec.convert(value, types[name], strict=False)
        except msgspec.ValidationError as error:
            rule = setting.form or _rule(str(error), types[name])
            raise SettingsError(f"{where}{name} must be {rule}, got {safe(repr(value))}") from error
        if isinstance(checked[name], float) and not math.isfinite(checked[name]):
            raise SettingsError(f"{where}{name} must be a finite number, got {value}")
    try:
        return struct(**checked)
    except TypeError as error:  # a field without a default
        raise SettingsError(f"{where.rstrip('.')}: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _rule(error: str, hint: Any) -> str:
    """Return msgspec's sentence as a rule: ``Expected `int` >= 1`` -> ``a whole number >= 1``."""
    if error.startswith("Invalid enum value"):
        return f"one of {', '.join(choices(hint))}"
    rule = error.removeprefix("Expected ").split(" - at ")[0].split(", got ")[0]
    for name, words in _TYPES.items():
        rule = rule.replace(name, words)
    return rule
