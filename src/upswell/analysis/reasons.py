"""Which failures are of one kind: what differs from upload to upload is left out of their reasons. Pure."""

from __future__ import annotations

import re

MAX_CHARACTERS = 200
"""Of a kind; what is behind them does not tell two kinds apart."""

_LEFT_OUT = (
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/,;'\")]+)/[^\s,;'\")]*[^\s,;:.'\")]"), r"\1/…"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)/[^\s,;'\")]*[^\s,;:.'\")]"), r"\1…"),
    (re.compile(r"'[^']*[/.][^']*'"), "'…'"),
    (re.compile(r"(?<![\w/.:…])/[^\s,;:'\")]+"), "…"),
    (re.compile(r"\b(?:sha256:)?[0-9a-f]{16,64}\b"), "…"),
    (re.compile(r"(?<![\w.:])\d{4,}(?:\.\d+)?\b"), "N"),
)
"""Pattern -> what stands for it: where in a store or on a host, files, names, checksums, long numbers."""


def kind_of(reason: str) -> str:
    """Return the kind of a failure's reason: without paths, keys, checksums and long numbers.

    >>> kind_of("the source does not exist: file:///data/2026/cat.jpg")
    'the source does not exist: file://…'
    >>> kind_of("unexpected status 503, not 200, from https://host:8080/a.mp4?size=full: late")
    'unexpected status 503, not 200, from https://host:8080/…: late'
    """
    text = reason.partition("\n")[0][: 4 * MAX_CHARACTERS]
    for pattern, instead in _LEFT_OUT:
        text = pattern.sub(instead, text)
    return text[:MAX_CHARACTERS]
