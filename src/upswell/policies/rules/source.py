"""Where in a rules file something stands, so that an error can name file, line and rule."""

from __future__ import annotations

import re

from upswell.errors import SettingsError

_HEADER = re.compile(r"""^\s*\[\s*rules\s*\.\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*\]""")
_ANY_HEADER = re.compile(r"^\s*\[")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")


class RulesSource:
    """A rules file's name and text."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._lines = _outside_long_texts(text)

    def error(self, what: str, rule: str = "", key: str = "") -> SettingsError:
        """Return the error that says `what` of a rule's key, or of a key of the file."""
        place = f"{self.name}, line {self._line(rule, key)}"
        return SettingsError(f"{place}, rule {rule}: {what}" if rule else f"{place}: {what}")

    def toml_error(self, error: Exception) -> SettingsError:
        """Return the error of a text that is no TOML."""
        message = str(error)
        found = _TOML_PLACE.search(message)
        line = int(found[1]) if found and found[1] else max(1, len(self.text.splitlines()))
        rule = self._rule_at(line)
        where = f"{self.name}, line {line}{f', rule {rule}' if rule else ''}"
        return SettingsError(f"{where}: must be TOML: {_TOML_PLACE.sub('', message)}")

    def _line(self, rule: str, key: str) -> int:
        """Return the line of a rule's key; where it cannot be found, that of its header, or the first."""
        begin = 0
        if rule:
            headers = [at for at, line in enumerate(self._lines) if _header(line) == rule]
            dotted = re.compile(rf"""^\s*rules\s*\.\s*["']?{re.escape(rule)}["']?\s*[.=]""")
            headers += [at for at, line in enumerate(self._lines) if dotted.match(line)]
            if not headers:
                return 1
            begin = headers[0]
        assignment = re.compile(rf"""^(?:\s*rules\s*\.\s*[^=]*\.)?\s*["']?{re.escape(key)}["']?\s*=""")
        for at in range(begin, len(self._lines)):
            if at > begin and rule and _ANY_HEADER.match(self._lines[at]):
                break
            if key and assignment.match(self._lines[at]):
                return at + 1
        return begin + 1

    def _rule_at(self, line: int) -> str:
        names = [name for text in self._lines[:line] if (name := _header(text))]
        return names[-1] if names else ""


def _header(line: str) -> str:
    found = _HEADER.match(line)
    return "" if found is None else next(name for name in found.groups() if name is not None)


def _outside_long_texts(text: str) -> list[str]:
    """Return the lines, blank where a text of several lines goes on: it may look like anything."""
    lines: list[str] = []
    closing = ""
    for line in text.splitlines():
        begun_outside = not closing
        rest = line
        while True:
            if closing:
                _, found, rest = rest.partition(closing)
                if not found:
                    break
                closing = ""
            opening = re.search(r"\"{3}|'{3}", rest)
            if opening is None:
                break
            closing, rest = opening.group(), rest[opening.end() :]
        lines.append(line if begun_outside else "")
    return lines
