"""Convert raw values to a checked Struct; each error states the rule and the value."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from upswell.errors import SettingsError
from upswell.registry import nearest
from upswell.safe import masked_url, safe, url_fault
from upswell.settings.setting import choices, hints, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Checked = TypeVar("Checked", bound=Struct)

_TYPES = {
    "`int`": "a whole number", "`float`": "a number", "`bool`": "true or false", "`str`": "text",
    "`array`": "a list", "`object`": "a table", " | `null`": "",
}  # fmt: skip


def build(struct: type[Checked], values: Mapping[str, Any], where: str = "") -> Checked:
    """Return the Struct with these `values`; `where` is the prefix of a setting's name in errors.

    Text is converted to the field's type: a number, a separated list, a table in JSON.

    Raises:
        SettingsError: a name is unknown, or a value is invalid.
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
            if setting.secret:
                raise SettingsError(f"{where}{name} must be {rule}") from None
            shown = masked_url(str(value)) if setting.url else safe(repr(value))
            raise SettingsError(f"{where}{name} must be {rule}, got {shown}") from error
        if setting.url and checked[name] and (fault := url_fault(checked[name])):
            raise SettingsError(f"{where}{name} {fault}; got {masked_url(checked[name])}")
        if isinstance(checked[name], float) and not math.isfinite(checked[name]):
            raise SettingsError(f"{where}{name} must be a finite number, got {value}")
    try:
        return struct(**checked)
    except TypeError as error:  # a field without a default
        raise SettingsError(f"{where.rstrip('.')}: {error}") from error


_ONE_SLASH = re.compile(r"\A(s3|gs|az|https?|file):(?!//)", re.IGNORECASE)


def refuse_one_slash(text: str, name: str = "a URI") -> None:
    """Raise a SettingsError for a URI with a slash too few, which would be taken for a folder."""
    if found := _ONE_SLASH.match(text):
        raise SettingsError(f"{name} must begin with {found[1].lower()}://, got {safe(text)}")


def _rule(error: str, hint: Any) -> str:
    """Return msgspec's message as a rule: ``Expected `int` >= 1`` -> ``a whole number >= 1``."""
    if error.startswith("Invalid enum value"):
        return f"one of {', '.join(choices(hint))}"
    rule = error.removeprefix("Expected ").split(" - at ")[0].split(", got ")[0]
    for name, words in _TYPES.items():
        rule = rule.replace(name, words)
    return rule
