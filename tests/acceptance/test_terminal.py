"""The terminal that other tests look at shows what a person would see."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.terminal import CTRL_C, ENTER, Terminal, normalised

if TYPE_CHECKING:
    from pathlib import Path


def test_a_typed_line_shows_its_output_and_its_exit_status(tmp_path: Path) -> None:
    with Terminal(os.environ, tmp_path, width=80) as terminal:
        shown = terminal.run("echo 'two  words'; tput cols; (exit 3)")
        assert shown.status == 3
        assert shown.lines == ["two  words", "80"]
        assert shown.text.startswith("$ echo 'two  words'")
        assert terminal.run("true").lines == []


def test_what_is_drawn_over_counts_once_and_long_lines_wrap(tmp_path: Path) -> None:
    with Terminal(os.environ, tmp_path, width=40) as terminal:
        assert terminal.run(r"printf '10%%\r90%%\n'").lines == ["90%"]
        assert [len(line) for line in terminal.run("printf 'x%.0s' $(seq 100); echo").lines] == [40, 40, 20]


def test_keys_reach_what_runs_in_front(tmp_path: Path) -> None:
    with Terminal(os.environ, tmp_path) as terminal:
        terminal.type("read -p 'sure? ' answer && echo got $answer")
        terminal.wait_for(r"(?m)^sure\?")
        terminal.press(f"yes{ENTER}")
        assert terminal.finish().lines[-1] == "got yes"
        terminal.type("echo begun; sleep 1000")
        terminal.wait_for("(?m)^begun")
        terminal.press(CTRL_C)
        assert terminal.finish().status == 130


def test_colours_are_seen(tmp_path: Path) -> None:
    with Terminal(os.environ, tmp_path) as terminal:
        terminal.run(r"printf '\033[31mwrong\033[0m right\n'")
        assert (terminal.colour_of("wrong"), terminal.colour_of("right")) == ("red", "default")


def test_what_varies_keeps_its_width() -> None:
    text = "at 2026-11-26 10:00:00 | 1234 ms |  "
    assert normalised(text, {r"\d+ ms": "N ms"}) == "at YYYY-MM-DD HH:MM:SS | N ms    |\n"


def test_a_command_that_hangs_fails_with_what_is_on_the_screen(tmp_path: Path) -> None:
    with Terminal(os.environ, tmp_path) as terminal:
        terminal.type("echo stuck; sleep 1000")
        terminal.wait_for("(?m)^stuck")
        with pytest.raises(AssertionError, match="stuck"):
            terminal.finish(timeout=0.2)
