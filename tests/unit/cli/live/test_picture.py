"""One application in a terminal of every size."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from support.terminal import holds_to
from upswell.cli.live.history import Point, PointHistory
from upswell.cli.live.picture import Picture, drawn
from upswell.settings import Slo

WHY = (
    "240 uploads queued, 2.1 s each; to start all within 6 s takes 88 slots = 22 workers; "
    "limited to max_workers 12"
)


def burst() -> PointHistory:
    """Return five minutes in which response times rise above the objective, workers come, and both fall."""
    history = PointHistory()
    for second in range(0, 300, 2):
        height = 45 * math.exp(-(((second - 150) / 50) ** 2))
        wish = 12 if 120 <= second < 250 else 2
        running = 2 if second < 140 or second >= 270 else 12
        known = not 40 <= second < 60
        history.add([Point(second, height / 3 if known else None, height if known else None, running, wish)])
    return history


def picture(**changed: object) -> Picture:
    fields: dict[str, object] = {
        "title": "photos (1 of 3)",
        "right": Text("last 5 min, 12:05:00"),
        "history": burst(),
        "slo": Slo(0.95, 30.0),
        "now": 300.0,
        "span": 300.0,
        "holds": 5.0,
        "response": Text("p50 1.25s, p95 4.50s; target 95% < 30s: 91.2%"),
        "workers": Text("2 ready, 1 draining; 2 decided"),
        "facts": (("queue", Text("240 waiting, 20 in flight")), ("cost", Text("0.09 EUR an hour"))),
        "problems": (Text("target missed: 91.2% within 30 s, 95% wanted", "bold red"),),
        "decisions": [
            ("12:02:00", f"scale out 2 → 12: {WHY}", ""),
            ("12:04:10", "scale in 12 → 2: calm", ""),
        ],
        "footer": "a all   q quit",
        **changed,
    }
    return Picture(**fields)  # type: ignore[arg-type] - as above


def shown(one: Picture, width: int, height: int, *, ascii_only: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(drawn(one, width, height, ascii_only=ascii_only))
    return out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_a_burst_as_a_person_sees_it(width: int, height: int) -> None:
    holds_to(f"top-{width}", shown(picture(), width, height), {})


def test_a_burst_in_ascii() -> None:
    text = shown(picture(decisions=()), 80, 24, ascii_only=True)
    holds_to("top-ascii-80", text, {})
    assert text.isascii()


def test_a_line_that_is_too_long_is_cut_and_none_is_broken() -> None:
    text = shown(picture(response=Text("x" * 500)), 80, 24)
    assert len(text.splitlines()) == 24
    assert max(map(len, text.splitlines())) <= 80


def test_an_application_of_which_nothing_is_known_has_empty_charts() -> None:
    text = shown(picture(history=PointHistory(), slo=None, decisions=(), problems=(), facts=()), 80, 24)
    assert "█" not in text


@given(st.integers(20, 200), st.integers(6, 80), st.integers(0, 30))
def test_it_fills_the_terminal_exactly(width: int, height: int, decisions: int) -> None:
    one = picture(decisions=[("12:00:00", WHY, "")] * decisions)
    lines = shown(one, width, height).splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    if height >= 16:
        assert lines[-1].startswith("a all")
