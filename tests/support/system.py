"""The real commands as a user starts them, in a folder and with queues of their own, looked at from outside.

Nothing here imports Upswell's loop: processes are counted in /proc, objects in the store's folder, dead
letters with `sqlite3` or a foreign AMQP client.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import amqpstorm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_until(condition: Callable[[], bool], timeout: float, what: Callable[[], str]) -> None:
    """Return when `condition` holds; fail after `timeout` seconds, saying `what` was seen instead."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what()}")
        time.sleep(0.1)


def foreign_connection(url: str) -> amqpstorm.UriConnection:
    """Return a connection of a client that is not ours, which waits for RabbitMQ's answers for a minute."""
    return amqpstorm.UriConnection(f"{url}{'&' if '?' in url else '?'}timeout=60")


class System:
    """One application's commands, files, store and queues; leaving its context ends all that it started."""

    def __init__(self, folder: Path, *, broker_url: str = "", app_id: str, **settings: object) -> None:
        self.folder = folder
        self.app_id = app_id
        self.broker_url = broker_url
        self.destination = str(settings.pop("destination", folder / "store"))
        self.sources = folder / "sources"
        self.sources.mkdir(parents=True)
        own = {
            "state_dir": folder / "state",
            "apps": app_id,
            "source_roots": self.sources,
            "destination": self.destination,
            "report_queue": f"{app_id}_report",
            **settings,
        }
        # Nor the width of whose terminal the tests run in: what goes to a pipe is not wrapped.
        not_ours = ("UPSWELL_", "AMQPURL", "COLUMNS")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(not_ours)}
        self.environment = {
            **inherited,
            **{f"UPSWELL_{name.upper()}": str(value) for name, value in own.items()},
            **({"AMQPURL": broker_url} if broker_url else {}),
        }
        self.commands: list[subprocess.Popen[bytes]] = []
        self.checksums: dict[str, str] = {}

    @property
    def store(self) -> Path:
        """The folder that objects are stored in; a bucket is looked into with other tools."""
        assert "://" not in self.destination, f"{self.destination} is no folder"
        return Path(self.destination)

    def make_requests(self, count: int, *, size: int, seed: int = 1) -> Path:
        """Write `count` files of about `size` bytes, and the request file that names them."""
        rng = random.Random(seed)
        requests: list[dict[str, object]] = []
        for number in range(count):
            body = rng.randbytes(rng.randint(size // 2, size * 3 // 2))
            name = f"{number:05d}.bin"
            (self.sources / name).write_bytes(body)
            self.checksums[name] = hashlib.sha256(body).hexdigest()
            requests.append({"type": "file", "uri": f"file://{self.sources / name}", "key": name})
        path = self.folder / "requests.jsonl"
        path.write_text("".join(f"{json.dumps(request)}\n" for request in requests))
        return path

    def start(
        self, *arguments: str, log: str = "", program: tuple[str, ...] = ("-m", "upswell")
    ) -> subprocess.Popen[bytes]:
        """Start `upswell ARGUMENTS` in the background; what it says goes to a file: `log`, or the command.

        `program` is what Python runs in its place: `upswell` with other constants, say.
        """
        with (self.folder / f"{log or arguments[0]}.log").open("ab") as output:
            command = subprocess.Popen(
                [sys.executable, *program, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.commands.append(command)
        return command

    def run(
        self, *arguments: str, timeout: float = 110, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `upswell ARGUMENTS` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "upswell", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"upswell {' '.join(arguments)}: {done.stdout}{done.stderr}{self.logs()}")
        return done

    def run_until_well(self, *arguments: str) -> str:
        """Return what a command prints once it ends with 0: a part that the machine holds up is not heard."""
        told: list[str] = []

        def is_well() -> bool:
            done = self.run(*arguments, check=False)
            told[:] = [done.stdout]
            return done.returncode == 0

        wait_until(is_well, 60, lambda: f"{told}{self.logs()}")
        return told[0]

    def split(self, requests: Path, parts: int) -> Iterator[Path]:
        """Yield request files that together are this one, to be published one after the other."""
        lines = requests.read_text().splitlines(keepends=True)
        for number in range(parts):
            path = requests.with_suffix(f".{number}.jsonl")
            path.write_text("".join(lines[number::parts]))
            yield path

    def publish(self, requests: Path) -> None:
        """Publish a request file, to the end."""
        self.run("publish", "--app", self.app_id, str(requests))

    def stored(self) -> set[str]:
        """Return the names of the objects in the store, each compared with its source; a wrong one fails."""
        found: set[str] = set()
        for name, checksum in self.checksums.items():
            try:
                body = (self.store / name).read_bytes()
            except FileNotFoundError:
                continue
            assert hashlib.sha256(body).hexdigest() == checksum, f"{name} has wrong bytes"
            found.add(name)
        return found

    def stored_count(self) -> int:
        """Count the objects by their names alone: quick."""
        return sum((self.store / name).exists() for name in self.checksums) if self.store.exists() else 0

    def dead(self) -> dict[str, str]:
        """Return key -> reason of what lies in the dead-letter queue, which is left as it is."""
        bodies = self._dead_rabbitmq() if self.broker_url else self._dead_sqlite()
        return {json.loads(body)["key"]: reason for body, reason in bodies}

    def set_by_hand(self, workers: int, timeout: float) -> None:
        """Order a number of workers for an hour; it is refused until the monitor listens."""
        order = ("scale", self.app_id, str(workers), "--for", "1h")
        wait_until(lambda: self.run(*order, check=False).returncode == 0, timeout, self.logs)

    def dead_count(self) -> int:
        """Count the dead letters."""
        return len(self.dead())

    def _dead_rabbitmq(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with foreign_connection(self.broker_url) as connection, connection.channel() as channel:
            # Taken and not acknowledged: all of them go back when the connection closes.
            while (message := channel.basic.get(f"{self.app_id}_upload.dead")) is not None:
                headers = message.properties["headers"]
                found.append((message.body, str(headers.get("x-upswell-reason") or headers["x-death"])))
        with foreign_connection(self.broker_url) as connection, connection.channel() as channel:

            def left() -> int:
                return channel.queue.declare(f"{self.app_id}_upload.dead", passive=True)["message_count"]

            # They are back a moment after it is closed.
            wait_until(lambda: left() >= len(found), 60, lambda: f"{left()} of {len(found)}")
        return found

    def _dead_sqlite(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.folder / "state" / "broker.sqlite", timeout=60) as connection:
            rows = connection.execute(
                "SELECT body, headers FROM messages JOIN queues ON queues.id = messages.queue WHERE name = ?",
                [f"{self.app_id}_upload.dead"],
            ).fetchall()
        return [(bytes(body).decode(), json.loads(headers)["x-upswell-reason"]) for body, headers in rows]

    def workers(self) -> dict[int, str]:
        """Return pid -> worker id of this system's worker processes, found by their environment."""
        mark = f"UPSWELL_STATE_DIR={self.folder / 'state'}".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in environment and b"worker" in command:
                ids = [item for item in environment if item.startswith(b"UPSWELL_WORKER_ID=")]
                found[int(entry.name)] = ids[0].split(b"=", 1)[1].decode() if ids else ""
        return found

    def said(self) -> str:
        """Return all that was logged: what a condition looks for must not move out of it."""
        return "".join(path.read_text("utf-8", "replace") for path in self._log_files())

    def events(self, command: str, name: str) -> list[dict[str, Any]]:
        """Return the events of a name that a command has logged as JSON."""
        # The last line may be half written.
        whole = (self.folder / f"{command}.log").read_text().rpartition("\n")[0]
        found = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def logs(self) -> str:
        """Return the ends of all logs, for a failing test's message."""
        files = self._log_files()
        return "".join(f"\n== {path.name}\n{path.read_text('utf-8', 'replace')[-3000:]}" for path in files)

    def _log_files(self) -> list[Path]:
        return [*self.folder.glob("*.log"), *(self.folder / "state" / "logs").glob("*.log")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.commands:
            if command.poll() is None:
                command.send_signal(signal.SIGKILL)
            command.wait()
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
