"""A server program on loopback for as long as a `with` block lasts; it dies with the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return that many different ones: asked for one by one, the same may come twice."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def program(name: str) -> str | None:
    """Return where a program of the virtual environment or of the machine is, or None."""
    own = Path(sys.executable).with_name(name)
    return str(own) if own.exists() else shutil.which(name)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, url: str, log: Path, env: Mapping[str, str] | None = None, timeout: float = 60
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; yield it when `url` answers, with whatever status.

    Raises:
        RuntimeError: it ended or did not answer in time; with the end of its log.
    """
    setpriv = shutil.which("setpriv")  # the kernel ends the server when the tests are killed
    prefix = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with log.open("ab") as output:
        server = subprocess.Popen(
            [*prefix, *command],
            env={**os.environ, **(env or {})},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(server, url, log, time.monotonic() + timeout)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    """Return whether a server answers at `url`, be it with an error of its own."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _wait(server: subprocess.Popen[bytes], url: str, log: Path, deadline: float) -> None:
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            end = log.read_text("utf-8", "replace")[-3000:]
            raise RuntimeError(f"{url} does not answer; the server's log ends: {end}")
        time.sleep(0.05)
