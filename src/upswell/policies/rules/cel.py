"""CEL as the rules read it: every number is a double, nothing is divided by zero, nothing is null.

CEL never mixes whole numbers with doubles (`2 * p95` is an error), divides whole numbers without a rest
(`3 / 4` is 0), and divides doubles by zero to infinity, which is greater than any limit. Each is right for a
language of protocols and a trap in a rule. So `2` becomes `2.0` and `a / b` becomes `a / nonzero(b)` before
the text is compiled. A null equals nothing and differs from everything, so that `p95 != 3` would be true
where p95 is not known: what is not known is undefined instead, and `known(p95)` asks (`known("p95")` once
compiled). Text comes in, text goes out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<string>[bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
               | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
                        |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>&&|\|\||[<>=!]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")

_KNOWN = re.compile(r"\bknown\s*\(\s*([A-Za-z_]\w*)\s*\)")

_Token = tuple[str, str]


def with_doubles(text: str) -> str:
    """Return CEL in which whole numbers are doubles and divisors are checked.

    >>> with_doubles("failures / (reports + 1) > 0.5")
    'failures / nonzero((reports + 1.0)) > 0.5'
    """
    tokens = [_as_double(token) for token in _tokens(_KNOWN.sub(r'known("\1")', text))]
    before: dict[int, str] = {}
    after: dict[int, str] = {}
    for place, (_, sign) in enumerate(tokens):
        if sign != "/":
            continue
        begin = _solid(tokens, place + 1)
        end = _operand_end(tokens, begin)
        if end > begin:
            before[begin] = before.get(begin, "") + "nonzero("
            after[end] = after.get(end, "") + ")"
    parts = (after.get(at, "") + before.get(at, "") + part for at, (_, part) in enumerate(tokens))
    return "".join(parts) + after.get(len(tokens), "")


def bound_names(text: str) -> set[str]:
    """Return the names that the text's own macros bind: the `t` of `times.exists(t, t > 30)`."""
    return set(_MACRO.findall(text))


def asked_names(text: str) -> list[str]:
    """Return the names that are asked after by `known(name)`."""
    return _KNOWN.findall(text)


def speaks_of_null(text: str) -> bool:
    """Return whether a null stands in the text."""
    return ("name", "null") in _tokens(text)


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        yield match.lastgroup or "", match.group()


def _as_double(token: _Token) -> _Token:
    kind, text = token
    return (kind, text + ".0") if kind == "number" and text.isdecimal() else token


def _solid(tokens: list[_Token], place: int) -> int:
    """Return the place of the next token that is no space."""
    while place < len(tokens) and tokens[place][0] == "space":
        place += 1
    return place


def _operand_end(tokens: list[_Token], place: int) -> int:
    """Return where a divisor ends: signs before it, one operand, and the calls and members behind it."""
    while place < len(tokens) and tokens[place][1] in ("-", "!"):
        place = _solid(tokens, place + 1)
    place = _group_end(tokens, place)
    while True:
        behind = _solid(tokens, place)
        sign = tokens[behind][1] if behind < len(tokens) else ""
        if sign == ".":
            place = min(len(tokens), _solid(tokens, behind + 1) + 1)
        elif sign in ("(", "["):
            place = _group_end(tokens, behind)
        else:
            return place


def _group_end(tokens: list[_Token], place: int) -> int:
    """Return the place behind one token, or behind the bracket that closes it."""
    waiting: list[str] = []
    while place < len(tokens):
        sign = tokens[place][1]
        if sign in _CLOSING:
            waiting.append(_CLOSING[sign])
        elif waiting and sign == waiting[-1]:
            waiting.pop()
        place += 1
        if not waiting:
            break
    return place
