"""A private PostgreSQL server: its data in a temporary folder, a Unix socket there and no TCP port.

PostgreSQL refuses to run as root, so a root's tests start it as `postgres`, else as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self


def missing() -> str | None:
    """Return why no server can run on this machine, or None when one can."""
    return None if _program("initdb") else "PostgreSQL is not installed (apt-get install postgresql)"


class PostgresServer:
    """One server, usable as a context manager; `environment` is what its clients need."""

    def __init__(self) -> None:
        self.folder = Path(
            tempfile.mkdtemp(prefix="upswell-pg-", dir="/tmp")
        )  # a socket's path must be short
        self.environment = {
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
            "PGPORT": "5432",
        }
        self._databases = 0
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 60.0) -> None:
        """Make the data and start; returns when connections are taken."""
        user = _other_user()
        if user:
            os.chown(self.folder, user["user"], user["group"])
        data = self.folder / "data"
        self._run(
            "initdb",
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        )
        command = [
            str(_program("postgres")), "-D", str(data), "-k", str(self.folder),
            "-c", "listen_addresses=", "-c", "fsync=off",
        ]  # fmt: skip
        setpriv = shutil.which("setpriv")
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **user,
            )
        self._wait(time.monotonic() + timeout)

    def new_database(self) -> dict[str, str]:
        """Make an empty database; return what its clients need."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "-h", str(self.folder), "-U", "postgres", name)
        return {**self.environment, "PGDATABASE": name}

    def stop(self) -> None:
        """Stop at once, in good order."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(_program(program)), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **_other_user(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def _wait(self, deadline: float) -> None:
        """Wait for the last line that a starting server writes into its lock file."""
        status = self.folder / "data" / "postmaster.pid"
        while True:
            if status.exists() and status.read_text().rstrip().endswith("ready"):
                return
            assert self._server is not None
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _other_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL must not run as root, and there is neither a user postgres nor nobody")
