"""`upswell publish --wait` on a terminal 80 columns wide: what a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

from support.system import System, wait_until

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WIDTH = 80


def on_a_terminal(system: System, *arguments: str) -> tuple[int, list[str]]:
    """Return the exit code, and each line that was drawn, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    command = subprocess.Popen(
        [sys.executable, "-m", "upswell", *arguments],
        env={**system.environment, "TERM": "xterm-256color"},
        cwd=system.folder,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return command.wait(60), re.split(r"[\r\n]+", CONTROL.sub("", seen.decode()))


def test_bytes_rate_time_left_and_failures_are_shown_and_nothing_is_cut(tmp_path: Path) -> None:
    with System(tmp_path, app_id="terminal") as system:
        requests = system.make_requests(40, size=4000)
        (system.sources / "00007.bin").unlink()
        system.start("worker", "--app", system.app_id)
        # Before a worker consumes, it is told that nobody does, in a line of any width.
        wait_until(lambda: "state=ready" in system.said(), 60, system.logs)
        code, lines = on_a_terminal(system, "publish", "--app", system.app_id, "--wait", str(requests))
    assert code == 1
    frames = lines[: next(number for number, line in enumerate(lines) if line.startswith("dead "))]
    assert max(map(len, frames)) == WIDTH  # the bar takes all that there is
    assert not any("…" in line for line in frames)
    drawn = [line.strip() for line in frames if line.strip()][-4:]
    assert re.fullmatch(r"━+ 40/40 0:\d\d:\d\d", drawn[0])
    assert re.fullmatch(r"\d+\.\d KiB, [\d.]+ (B|KiB|MiB)/s, 0:00:00 left", drawn[1])
    assert re.fullmatch(r"0 failed attempts, 1 dead, p50 [\d.]+m?s, p95 [\d.]+m?s", drawn[2])
    assert drawn[3].startswith("1 failed: ")
