"""Keys as they are pressed, without Enter and without being shown, while a context lasts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[C": "right", "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1b[F": "end",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\t": "right", "\x7f": "backspace", "\x08": "backspace",
    "\x03": "q", "\x04": "q",
}  # fmt: skip
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|.", re.DOTALL)


def named(text: str) -> Iterator[str]:
    r"""Give the name of each key in what a terminal sent; one that has no name is itself, or left out.

    >>> list(named("a\x1b[A\x1b[1;5Pq"))
    ['a', 'up', 'q']
    """
    for key in _KEY.findall(text):
        if key in _NAMES:
            yield _NAMES[key]
        elif key.isprintable():
            yield key


class Keys:
    """The keys pressed since the last look; a change of the terminal's size wakes who waits, too."""

    def __init__(self) -> None:
        self._pressed: list[str] = []
        self._news = asyncio.Event()
        self._descriptor = sys.stdin.fileno()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, self._read)
        loop.add_signal_handler(signal.SIGWINCH, self._news.set)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_reader(self._descriptor)
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    async def wait(self, seconds: float) -> list[str]:
        """Return the keys that are pressed, at once, or none after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()
        pressed, self._pressed = self._pressed, []
        return pressed

    def _read(self) -> None:
        text = os.read(self._descriptor, 1024).decode(errors="ignore")
        if not text:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._pressed.append("q")
        self._pressed += named(text)
        self._news.set()
