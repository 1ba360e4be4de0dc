"""A server program on loopback for as long as a `with` block lasts; it dies with the tests."""

from __future__ import annotations

import contextlib
import os
import random
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


_ALL_PORTS = range(15_000, 32_000)
"""Below those from which Linux takes a connection's own: a port that is free now is not taken by one."""

_PORTS = _ALL_PORTS[
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) :: int(
        os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    )
]
"""This process's own share of them: what it draws, no other process of the same tests does."""

_given: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a TCP port, or of `kind`, that nobody uses at this moment, another one each time.

    Drawn at random: several runs of the tests on one machine seldom draw the same one.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, kind) as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def program(name: str) -> str | None:
    """Return where a program of the virtual environment or of the machine is, or None."""
    own = Path(sys.executable).with_name(name)
    return str(own) if own.exists() else shutil.which(name)


class PortTakenError(RuntimeError):
    """Between the choice of a free port and the server's start another program took it."""


@contextlib.contextmanager
def running(
    command: Sequence[str], *, url: str, log: Path, env: Mapping[str, str] | None = None, timeout: float = 60
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; yield it when `url` answers, with whatever status.

    Raises:
        PortTakenError: it ended because another program listens on its port by now.
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
            kind = PortTakenError if "address already in use" in end.lower() else RuntimeError
            raise kind(f"{url} does not answer; the server's log ends: {end}")
        time.sleep(0.05)
