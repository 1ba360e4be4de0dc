"""Upswell as an operator sees it: processes that were started by commands, and folders.

What comes in: a folder and which broker. What goes out: commands that run, worker processes by pid, what is
stored and dead.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pika

from support.rabbitmq_node import RabbitNode
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UPSWELL = Path(sys.executable).with_name("upswell")
APPS = ("chaos-a", "chaos-b")
MAX_WORKERS = 3
PRIVATE = ".upswell-tmp/"
SETTINGS = {
    "APPS": ",".join(APPS),
    "MIN_WORKERS": "0",
    "MAX_WORKERS": str(MAX_WORKERS),
    "SLO": "95% < 20s",
    "SLOTS": "4",
    "DECISION_INTERVAL": "1",
    "WINDOW": "20",
    "DELIVERY_LIMIT": "100",  # attempts that a killed worker wastes count: a poisoned upload would be one
    "RETRY_BACKOFF": "0.2",
    "UPLOAD_RATE_LIMIT": "4000000",  # an upload must last long enough to be hit
}


class Plant:
    """Monitor, scaler and their workers, restarted whenever they end, and the broker between them.

    Args:
        folder: for everything; made where it is not there.
        rabbitmq: run a RabbitMQ node, reached through a proxy; otherwise the embedded broker.
        store_bytes: size of the store's disk.
    """

    def __init__(self, folder: Path, *, rabbitmq: bool, store_bytes: int) -> None:
        self.folder = folder
        self.store_bytes = store_bytes
        self.sources, self.store = folder / "sources", folder / "store"
        self.node = RabbitNode(folder / "rabbitmq") if rabbitmq else None
        self.proxy: TcpProxy | None = None
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.mounted = False
        self.most_workers = 0
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        for path in (self.sources, self.store, self.folder / "logs"):
            path.mkdir(parents=True, exist_ok=True)
        self._mount()
        variables = {f"UPSWELL_{name}": value for name, value in SETTINGS.items()}
        variables |= {
            "UPSWELL_STATE_DIR": str(self.folder / "state"),
            "UPSWELL_SOURCE_ROOTS": str(self.sources),
            "UPSWELL_DESTINATION": f"{self.store}/{{app_id}}",
        }
        if self.node is not None:
            self.node.start()
            self.proxy = TcpProxy(self.node.port)
            self.proxy.__enter__()
            variables["AMQPURL"] = f"amqp://guest:guest@127.0.0.1:{self.proxy.port}/%2F"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UPSWELL_")}
        inherited.pop("AMQPURL", None)
        self._environment = inherited | variables
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts.values():
            part.kill()
            part.wait()
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.proxy is not None:
            self.proxy.__exit__()
        if self.node is not None:
            self.node.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.store)], check=False)

    def _mount(self) -> None:
        """Give the store a small disk of its own, where we may: then it can be filled."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.store_bytes}", "tmpfs", str(self.store)]
        self.mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of Upswell; its output goes to a log named after it."""
        with (self.folder / "logs" / f"{command[0]}.log").open("ab") as output:
            return subprocess.Popen(
                [str(UPSWELL), *command],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def keep_running(self) -> list[str]:
        """Start monitor and scaler again where they ended, as an init system would; return which had."""
        ended = [name for name in ("monitor", "scaler") if (part := self.parts.get(name)) and part.poll()]
        for name in ("monitor", "scaler"):
            part = self.parts.get(name)
            if part is None or part.poll() is not None:
                self.parts[name] = self.start(name)
        self.most_workers = max(self.most_workers, len(self.workers()))
        return ended

    def workers(self) -> list[int]:
        """Return the pids of the worker processes of this plant, from /proc."""
        ours = f"UPSWELL_STATE_DIR={self.folder / 'state'}".encode()
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                if b"worker" in words[1:4] and ours in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found

    @contextlib.contextmanager
    def channel(self):  # noqa: ANN201 - pika has no types
        """A channel with confirms, straight to the node."""
        assert self.node is not None
        connection = pika.BlockingConnection(pika.URLParameters(self.node.url))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:  # the node may be gone
                connection.close()

    def dead(self, app: str) -> list[dict[str, object]]:
        """Return the dead letters of an application, as the command lists them."""
        done = subprocess.run(
            [str(UPSWELL), "dead", "list", "--app", app, "--json", "--limit", "10000"],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def missing(self, app: str, expected: dict[str, str]) -> list[str]:
        """Return what of key -> SHA-256 is not stored with its bytes."""
        return [key for key, digest in expected.items() if _digest(self.store / app / key) != digest]

    def unexpected(self, app: str, asked_for: set[str]) -> list[str]:
        """Return the objects of an application's destination that nobody asked for.

        What a killed worker had begun lies in the private folder, and is removed by a later one.
        """
        root = self.store / app
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(name for name in found if name not in asked_for and not name.startswith(PRIVATE))

    def stop(self, timeout: float) -> list[int]:
        """End the parts in good order; return the workers that are left.

        A scaler that ends leaves its workers running (a new one adopts them), so each is asked to drain.
        """
        for name in ("scaler", "monitor"):
            self.parts[name].send_signal(signal.SIGTERM)
            self.parts[name].wait(timeout)
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not self.workers(), timeout)
        return self.workers()


def wait_until(
    condition: Callable[[], bool], timeout: float, beside: Iterable[Callable[[], object]] = ()
) -> bool:
    """Wait until something is so, and do something `beside` meanwhile; return whether it came."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        for work in beside:
            work()
        time.sleep(0.5)
    return True


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
