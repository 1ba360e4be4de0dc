r"""A person at a terminal: types a line into a real shell, and reads what the screen then shows.

    with Terminal(system.environment, system.folder, width=80) as terminal:
        shown = terminal.run("upswell status")          # typed; read when the prompt is back
        assert shown.status == 0
        holds_to("status-80", shown.text, {r"p95 \d+ms": "p95 12ms"})

The screen is an emulator's (pyte), so a bar that is drawn over itself counts once, as its last state. What
varies is made equal before it is compared: `VARYING` always, other patterns as a test names them. After a
change that is meant, `GOLDEN=write pytest ...` writes the files anew: read what git then shows.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parents[1] / "golden"
PATIENCE_SECONDS = 100.0
"""How long something may take on a busy machine; after that a test fails with what the screen shows."""

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\n"

OF_COMMANDS = {
    r"/tmp/u[\w-]{8}": "/tmp/uXXXXXXXX",
    r"\b[0-9a-f]{32}\b": "ID",
    r"\d+(\.\d+)? [KM]?i?B/s": "RATE",
    r"\d+(\.\d+)? [GT]iB free": "ROOM free",
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}": "Day Mon DD HH:MM:SS YYYY",
}
"""What varies in what commands of one system print, whose folder is /tmp/u and eight letters."""

VARYING = {
    r"\d{4}-\d\d-\d\d": "YYYY-MM-DD",
    r"\b\d\d:\d\d:\d\d\b": "HH:MM:SS",
}
"""Pattern -> what stands in the golden file instead."""

_ROWS = 2000
"""Rows of the emulator: more than a test prints, so that nothing scrolls away. Programs see `height` rows."""
_PROMPT = "$ "
_ENDED = re.compile(rb"\x1b\]777;(\d+)\x07")
"""What our shell writes before each prompt, and no screen shows: the exit status of the command before."""


class Shown(Struct, frozen=True):
    """What one line brought: its exit status, and the screen from the typed line (`$ ...`) on."""

    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines below the typed one."""
        return self.text.splitlines()[1:]


class Terminal:
    """An interactive bash in a terminal of `width` columns; leaving its context ends all that it started.

    `upswell` and `python` are those of the tests. The time zone is UTC, unless the environment says other.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, *, width: int = 80, height: int = 24
    ) -> None:
        import pyte  # noqa: PLC0415 - a test that is only collected does without

        self._emulator: Any = pyte.Screen(width, _ROWS)
        self._stream: Any = pyte.ByteStream(self._emulator)
        self._seen = b""
        self._read = 0  # bytes of `_seen` that the emulator has taken
        self._begin = 0  # where the current line was typed: row, and bytes seen by then
        self._begin_bytes = 0
        self._height = height
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._shell = subprocess.Popen(
            # --ctty: Ctrl-C reaches what runs in front, as in any terminal.
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            env=_environment(environment),
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._wait_for_prompt(PATIENCE_SECONDS)

    def run(self, line: str, timeout: float = PATIENCE_SECONDS) -> Shown:
        """Type a line and Enter; return what it showed when the prompt is back."""
        self.type(line)
        return self.finish(timeout)

    def run_until(self, line: str, wanted: str, timeout: float = PATIENCE_SECONDS) -> Shown:
        """Type a line until it shows a pattern: it listens for a moment, and who is heard may be late."""
        deadline = time.monotonic() + timeout
        while re.search(wanted, (shown := self.run(line)).text) is None:
            assert time.monotonic() < deadline, f"{wanted!r} was not shown:\n{shown.text}"
        return shown

    def type(self, line: str) -> None:
        """Type a line and Enter at the prompt, and do not wait."""
        self._begin, self._begin_bytes = self._emulator.cursor.y, len(self._seen)
        self.press(line + ENTER)

    def press(self, keys: str) -> None:
        """Send keys as they are: an answer and `ENTER`, or `CTRL_C`."""
        os.write(self._ours, keys.encode())

    def wait_for(self, pattern: str, timeout: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Return when the screen, from the typed line on, shows a pattern."""
        deadline = time.monotonic() + timeout
        while (found := re.search(pattern, self.text)) is None:
            self._receive(deadline, f"{pattern!r} was not shown")
        return found

    def finish(self, timeout: float = PATIENCE_SECONDS) -> Shown:
        """Return what was shown since the line was typed, once the prompt is back."""
        deadline = time.monotonic() + timeout
        while (ended := _ENDED.search(self._seen, self._begin_bytes)) is None:
            self._receive(deadline, "the command did not end")
        self._draw(ended.start())
        shown = Shown(int(ended[1]), self.text)
        self._wait_for_prompt(timeout)
        return shown

    @property
    def text(self) -> str:
        """The screen from the typed line on."""
        return "\n".join(self._rows(self._begin)).rstrip("\n")

    @property
    def screen(self) -> str:
        """What a full-screen program shows: as many lines as the terminal has."""
        rows, columns = range(self._height), range(self._emulator.columns)
        lines = ("".join(self._emulator.buffer[row][column].data for column in columns) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size; who runs in it is told."""
        self._height = height
        self._emulator.resize(_ROWS, width)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def wait_for_screen(self, pattern: str, timeout: float = PATIENCE_SECONDS) -> str:
        """Return the screen when it shows a pattern."""
        deadline = time.monotonic() + timeout
        while re.search(pattern, self.screen) is None:
            self._receive(deadline, f"{pattern!r} is not on the screen:\n{self.screen}\n")
        return self.screen

    def colour_of(self, text: str) -> str:
        """Return the colour of the last place where the screen, from the typed line on, shows `text`."""
        for number, row in reversed(list(enumerate(self._rows(self._begin), self._begin))):
            column = row.rfind(text)
            if column >= 0:
                return str(self._emulator.buffer[number][column].fg)
        raise AssertionError(f"{text!r} is not shown: {self.text}")

    def close(self) -> None:
        """End the shell and all that runs in its session."""
        os.close(self._ours)
        for pid in _session(self._shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._shell.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, first: int) -> list[str]:
        rows: list[str] = self._emulator.display  # drawn anew for each look, all of it
        return [row.rstrip() for row in rows[first : self._emulator.cursor.y + 1]]

    def _wait_for_prompt(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        prompt = _PROMPT.encode()
        while True:
            ended = _ENDED.search(self._seen, self._begin_bytes)
            if ended is not None and prompt in self._seen[ended.end() :]:
                break
            self._receive(deadline, "no prompt")
        self._draw(len(self._seen))

    def _receive(self, deadline: float, what: str) -> None:
        """Take in what comes next; fail where nothing comes in time, or the shell is gone."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"{what}; the terminal shows:\n{self.text}")
        try:
            self._seen += os.read(self._ours, 65536)
        except OSError:
            raise AssertionError(f"{what}: the shell is gone; the terminal shows:\n{self.text}") from None
        if _ENDED.search(self._seen, self._begin_bytes) is None:
            self._draw(len(self._seen))

    def _draw(self, until: int) -> None:
        self._stream.feed(self._seen[self._read : until])
        self._read = max(self._read, until)


def holds_to(name: str, text: str, varying: Mapping[str, str] | None = None) -> None:
    """Compare a text with tests/golden/NAME.txt, after what varies was made equal."""
    path = GOLDEN / f"{name}.txt"
    text = normalised(text, varying)
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    differs = "\n".join(difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), lineterm=""))
    assert not differs, f"is that meant? {shlex.quote(str(path))}\n{differs}"


def normalised(text: str, varying: Mapping[str, str] | None = None) -> str:
    """Return a text with what varies made equal, as wide as before: columns stay where they are."""
    for pattern, instead in {**(varying or {}), **VARYING}.items():
        text = re.sub(pattern, lambda found, instead=instead: instead.ljust(len(found[0])), text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "PROMPT_COMMAND", "BASH_ENV")
    kept = {name: value for name, value in given.items() if name not in left_out}
    return {
        "TZ": "UTC",
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "PS1": _PROMPT,
        "PROMPT_COMMAND": r'printf "\033]777;%s\007" "$?"',
        "HISTFILE": "",
        "BASH_SILENCE_DEPRECATION_WARNING": "1",
    }


def _session(leader: int) -> list[int]:
    """Return the processes of a session, its leader last."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(entry.name))
    return sorted(found, key=lambda pid: pid == leader)
