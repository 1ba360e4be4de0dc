"""A rules file: TOML in, a `Rulebook` of compiled rules out, or an error that names file, line and rule."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.policies.rules.rule import Rule, RuleError, rule_of
from upswell.registry import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_RULES = 100

_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
_HEADER = re.compile(r"""^\s*\[\s*rules\s*\.\s*["']?([^"'\]\n]+?)["']?\s*\]""")


class Rulebook(Struct, frozen=True):
    """The rules in the order in which they are applied (the last has the last word), and their time zone."""

    rules: tuple[Rule, ...]
    zone: tzinfo
    variables: tuple[str, ...]


@lru_cache(maxsize=64)
def parse(name: str, text: str) -> Rulebook:
    """Return the rules that a file's `text` holds; `name` is the file's, for errors.

    The same text is compiled once, however many applications share it.

    Raises:
        SettingsError: no TOML, no CEL, or anything unknown or out of bounds.
    """
    rule = ""
    rules: list[Rule] = []
    try:
        zone, tables = _zone_and_tables(tomllib.loads(text))
        for rule, table in tables.items():
            rules.append(rule_of(rule, table))
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        rule = _rule_at(text, line)
        raise _error(name, line, rule, f"must be TOML: {_TOML_PLACE.sub('', str(error))}") from error
    except RuleError as error:
        place = ("rules", rule) if rule else ()
        line = _line(text, *place, error.key) or _line(text, *place)
        raise _error(name, line, rule, str(error)) from error
    rules.sort(key=lambda rule: rule.priority)
    names = {name for rule in rules for name in rule.variables}
    return Rulebook(tuple(rules), zone, tuple(sorted(names)))


def _error(name: str, line: int, rule: str, what: str) -> SettingsError:
    return SettingsError(f"{name}, line {line}{f', rule {rule}' if rule else ''}: {what}")


def _readable(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what the first lines hold, one line more each time, and the line on which the newest part begins.

    Lines that end within a value are left out, so no parser of our own is needed to find a key's line.
    """
    lines = text.split("\n")
    begin = 1
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        yield begin, document
        begin = end + 1


def _line(text: str, *path: str) -> int:
    """Return the line on which what stands at `path` begins, 0 where nothing does."""
    for line, document in _readable(text):
        found: Any = document
        for key in path:
            found = cast("dict[str, Any]", found).get(key) if isinstance(found, dict) else None
        if found is not None:
            return line
    return 0


def _rule_at(text: str, line: int) -> str:
    """Return the rule in which a line stands that is not TOML; empty in none."""
    if header := _HEADER.match(text.split("\n")[line - 1]):
        return header[1]
    rules: Any = {}
    for _, document in _readable(text):
        rules = document.get("rules")
    return next(reversed(cast("dict[str, Any]", rules)), "") if isinstance(rules, dict) else ""


def _zone_and_tables(document: dict[str, Any]) -> tuple[tzinfo, dict[str, Any]]:
    for key in document:
        if key not in ("timezone", "rules"):
            raise RuleError(f"unknown key: {key}{nearest(key, ('timezone', 'rules'))}", key)
    value = document.get("timezone", "UTC")
    try:
        zone = UTC if value == "UTC" else ZoneInfo(value)
    except (KeyError, ValueError, TypeError, OSError) as error:  # OSError: a folder of the database
        example = 'a name of the time zone database, like "Europe/Helsinki"'
        raise RuleError(f"timezone must be {example}, got {value!r}", "timezone") from error
    tables: Any = document.get("rules")
    if not isinstance(tables, dict) or not tables:
        raise RuleError("there must be at least one rule: a table [rules.its-name]")
    tables = cast("dict[str, Any]", tables)
    if len(tables) > MOST_RULES:
        raise RuleError(f"there must be at most {MOST_RULES} rules, got {len(tables)}")
    return zone, tables
