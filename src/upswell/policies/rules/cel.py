"""CEL as the rules read it: every number is a double, nothing is divided by zero, nothing is null.

CEL never mixes whole numbers with doubles (`2 * p95` is an error), divides whole numbers without a remainder
(`3 / 4` is 0), and divides doubles by zero to infinity, which is greater than any limit. Each is right for a
language of protocols and a trap in a rule. So `2` becomes `2.0` and `a / b` becomes `a / nonzero(b)` before
the text is compiled. A null equals nothing and differs from everything, so that `p95 != 3` would be true
where p95 is not known: what is not known is undefined instead, and `known(p95)` asks (`known("p95")` once
compiled). Text comes in, text goes out.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_LOOPS = 4
"""Macros, and calls of `matches`, in one expression: each takes tens of milliseconds at worst."""
LONGEST_LOOP = 200
"""Characters within a macro's brackets."""
MOST_LISTS = 2
"""How often an expression names a list: added together they grow, and a macro's time with their square."""
_LOOPS = frozenset({"all", "exists", "exists_one", "filter", "map"})

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
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_ELSEWHERE = {"and": "&&", "or": "||", "not": "!"}
"""Words of other languages, which CEL would take for variables, or for a mistake that it cannot name."""
_KNOWN = re.compile(r"\bknown\s*\(\s*([A-Za-z_]\w*)\s*\)")


def with_doubles(text: str) -> str:
    """Return CEL in which whole numbers are doubles and divisors are checked.

    >>> with_doubles("failures / (reports + 1) > 0.5")
    'failures / nonzero( ( reports + 1.0 ) ) > 0.5'

    Raises:
        ValueError: it speaks of null, or has an operator of another language.
    """
    parts: list[str] = []
    divisors: list[bool | None] = [None]
    """For each open bracket: is a divisor complete, so that the next word may end it? None: there is none."""
    for match in _TOKEN.finditer(_KNOWN.sub(r'known("\1")', text)):
        kind, word = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "name" and word == "null":
            raise ValueError("speaks of null, which nothing is: known(p95) asks whether p95 is known")
        if kind == "name" and word in _ELSEWHERE:
            raise ValueError(f"writes '{word}', which in CEL is {_ELSEWHERE[word]}")
        if divisors[-1] and word not in (".", "(", "["):
            parts.append(")")
            divisors[-1] = None
        parts.append(f"{word}.0" if kind == "number" and word.isdecimal() else word)
        if word == "/":
            parts.append("nonzero(")
            divisors[-1] = False
        elif divisors[-1] is not None:
            divisors[-1] = word not in ("-", "!", ".")
        if word in _OPENING:
            divisors.append(None)
        elif word in _CLOSING and len(divisors) > 1:
            divisors.pop()
    return " ".join(parts) + (" )" if divisors[-1] else "")


def bound_names(text: str) -> set[str]:
    """Return the names that the text's own macros bind: the `t` of `times.exists(t, t > 30)`."""
    return set(_MACRO.findall(text))


def asked_names(text: str) -> list[str]:
    """Return the names that are asked about by `known(name)`."""
    return _KNOWN.findall(text)


def check_cost(text: str, lists: Collection[str]) -> None:
    """Refuse what may run for long: CEL ends always, but macros within macros only after minutes.

    `lists` are the names of variables that hold lists.

    Raises:
        ValueError: it says the rule that the text breaks.
    """
    used: Counter[str] = Counter()
    brackets: list[int] = []
    """For each open bracket where a macro's begins, 0 for every other one."""
    before = ""
    for match in _TOKEN.finditer(text):
        word = match.group()
        if match.lastgroup == "space":
            continue
        what = _expensive(before, word, lists)
        if what and any(brackets):
            within = "within all, exists, exists_one, filter or map: it may run for minutes"
            raise ValueError(f"must not have {what} {within}")
        used[what] += 1
        if word in _OPENING:
            brackets.append(match.end() if word == "(" and before in _LOOPS else 0)
        elif word in _CLOSING and brackets and (begin := brackets.pop()):
            _check_most("characters within all, exists, filter or map", match.start() - begin, LONGEST_LOOP)
        before = word
    _check_most("of all, exists, exists_one, filter and map", sum(used[name] for name in _LOOPS), MOST_LOOPS)
    _check_most("calls of matches", used["matches"], MOST_LOOPS)
    _check_most(f"uses of {' or '.join(sorted(lists))}", sum(used[name] for name in lists), MOST_LISTS)


def _expensive(before: str, word: str, lists: Collection[str]) -> str:
    """Return what a word makes expensive within a macro, empty where nothing."""
    if word in lists:
        return word
    if word == "(" and (before in _LOOPS or before == "matches"):
        return before
    takes_an_element = before in (")", "]") or before[:1].isalpha()
    return "a list" if word in ("[", "{") and not takes_an_element else ""


def _check_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"must have at most {most} {what}, got {count}")
