"""Keys as terminals send them."""

from __future__ import annotations

import pytest

from upswell.cli.live.keys import named


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        ("\x1bOA", ["up"]),
        ("\x1b", ["escape"]),
        ("\x1b[5~\x1b[6~", ["page up", "page down"]),
        ("\x1b[1;5P\x1b[200~", []),
        ("ab\r", ["a", "b", "enter"]),
        ("\x03", ["q"]),
        ("ü/", ["ü", "/"]),
        ("\x00\x01", []),
    ],
)
def test_each_key_has_its_name(sent: str, keys: list[str]) -> None:
    assert list(named(sent)) == keys
