"""What may break. Each fault breaks one thing for a few seconds and mends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pika

from chaos.plant import APPS, PRIVATE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from chaos.plant import Plant

HOSTILE_REQUESTS = (
    b"",
    b"{",
    b"\xff\xfe\x00",
    b'"a string"',
    b'{"type": "file"}',
    b'{"type": "file", "uri": "file:///etc/shadow"}',
    b'{"type": "file", "uri": "file:///proc/self/environ"}',
    b'{"type": "file", "uri": "http://169.254.169.254/latest/meta-data/"}',
    b'{"type": "file", "uri": "gopher://localhost/"}',
    b"[" * 100_000,
)
"""Requests that must end as dead letters, never as objects."""
STATUSES, SCALE_REQUESTS = EXCHANGES = ("upswell.status", "upswell_report.scaling")
"""Where forged messages go: monitor and scaler make them as they start."""


class Faults:
    """Breaks one thing after the other; `made` counts what was done."""

    def __init__(self, plant: Plant, rng: random.Random) -> None:
        self._plant = plant
        self._rng = rng
        self.kinds: list[Callable[[], bool]] = [
            self.kill_worker,
            self.kill_worker,
            self.freeze_worker,
            self.drain_worker,
            self.kill_monitor,
            self.kill_scaler,
            self.take_store_away,
        ]
        if plant.mounted:
            self.kinds.append(self.fill_disk)
        if plant.node is not None:
            self.kinds += [
                self.cut_connections,
                self.stall_connections,
                self.kill_broker,
                self.restart_broker,
                self.send_hostile_requests,
                self.send_forged_messages,
            ]
        self.made = {kind.__name__: 0 for kind in self.kinds}
        self.hostile: set[str] = set()
        """Ids of the hostile requests that RabbitMQ has taken."""
        self._left: list[Callable[[], bool]] = []

    def one(self) -> None:
        """Do the next one: each comes once before any comes again."""
        if not self._left:
            self._left = self._rng.sample(self.kinds, len(self.kinds))
        fault = self._left.pop()
        self.made[fault.__name__] += fault()

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._rng.uniform(least, most))

    def _signal_worker(self, *signals: signal.Signals) -> bool:
        workers = self._plant.workers()
        if not workers:
            return False
        pid = self._rng.choice(workers)
        with contextlib.suppress(ProcessLookupError):
            for number, how in enumerate(signals):
                if number:
                    self._pause(1, 6)
                os.kill(pid, how)
        return True

    def kill_worker(self) -> bool:
        """Kill a worker, as the kernel does when memory runs out."""
        return self._signal_worker(signal.SIGKILL)

    def freeze_worker(self) -> bool:
        """Freeze a worker and let it go on."""
        return self._signal_worker(signal.SIGSTOP, signal.SIGCONT)

    def drain_worker(self) -> bool:
        """Ask a worker to leave."""
        return self._signal_worker(signal.SIGTERM)

    def _kill_part(self, name: str) -> bool:
        self._plant.parts[name].kill()
        self._plant.parts[name].wait()
        self._pause(0, 3)
        return True

    def kill_monitor(self) -> bool:
        """Kill the monitor; the harness starts it again."""
        return self._kill_part("monitor")

    def kill_scaler(self) -> bool:
        """Kill the scaler; the harness starts it again, and it adopts the workers."""
        return self._kill_part("scaler")

    def take_store_away(self) -> bool:
        """Take the destination of an application away, as an unmounted share would be, and bring it back."""
        folder = self._plant.store / self._rng.choice(APPS)
        if not folder.exists():
            return False
        away = folder.with_name(f"{folder.name}.away")
        folder.rename(away)
        self._pause(1, 4)
        made: list[Path] = []
        while True:
            try:
                away.rename(folder)
                break
            except OSError:  # made again by a worker, perhaps this very moment
                made.append(folder.with_name(f"{folder.name}.made-{time.monotonic_ns()}"))
                folder.rename(made[-1])
        for path in made:
            _empty_into(path, folder)
        return True

    def fill_disk(self) -> bool:
        """Leave no byte on the disk of the store, then make room again."""
        ballast = self._plant.store / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for _ in range(self._plant.store_bytes // 2**20):
                    file.write(bytes(2**20))
            self._pause(1, 4)
        finally:
            ballast.unlink()
        return True

    def cut_connections(self) -> bool:
        """Cut every connection to RabbitMQ."""
        assert self._plant.proxy is not None
        self._plant.proxy.cut()
        return True

    def stall_connections(self) -> bool:
        """Let nothing through to RabbitMQ for a while."""
        assert self._plant.proxy is not None
        self._plant.proxy.stall()
        self._pause(1, 6)
        self._plant.proxy.resume()
        return True

    def kill_broker(self) -> bool:
        """Kill RabbitMQ as a power cut would, and start it on what is on its disk."""
        assert self._plant.node is not None
        self._plant.node.kill()
        self._pause(0, 3)
        self._plant.node.start()
        return True

    def restart_broker(self) -> bool:
        """Restart RabbitMQ in good order."""
        assert self._plant.node is not None
        self._plant.node.restart()
        return True

    def send_hostile_requests(self) -> bool:
        """Send requests that nobody may fulfil, and that must not stop those behind them."""
        app = self._rng.choice(APPS)
        with self._plant.channel() as channel:
            for body in HOSTILE_REQUESTS:
                message_id = f"hostile-{len(self.hostile)}"
                properties = pika.BasicProperties(delivery_mode=2, message_id=message_id)
                channel.basic_publish("", f"{app}_upload", body, properties, mandatory=True)
                self.hostile.add(message_id)
        return True

    def send_forged_messages(self) -> bool:
        """Send reports, statuses and scale requests that are lies."""
        app = self._rng.choice(APPS)
        far = time.time() + 10**8
        status = {
            "worker_id": f"forged-{self._rng.random()}",
            "app_id": app,
            "busy": 9,
            "slots": 10**6,
            "at": far,
        }
        reports = [
            {"app_id": app, "response_time": 1e9},
            {"app_id": app, "response_time": -1},
            {"app_id": "../../etc", "response_time": 1},
            "no report",
        ]
        scale = {"app_id": app, "desired_workers": 500, "decided_at": far, "reason": "forged", "epoch": 2**40}
        with self._plant.channel() as channel:
            for state in ("draining", "ready", "starting"):
                channel.basic_publish(STATUSES, "", json.dumps({**status, "state": state}).encode())
            for report in reports:
                channel.basic_publish("", "upswell_report", json.dumps(report).encode())
            channel.basic_publish(SCALE_REQUESTS, "", json.dumps(scale).encode())
        return True


def _empty_into(made: Path, folder: Path) -> None:
    """Move what is stored to another folder, until this one is gone.

    Workers that have it open store in it until then; in a folder that was removed nothing can be made.
    """
    while made.exists():
        for path in sorted(made.rglob("*"), reverse=True):
            with contextlib.suppress(OSError):  # published, or given up, since it was listed
                if path.is_dir():
                    path.rmdir()
                elif path.relative_to(made).as_posix().startswith(PRIVATE):
                    path.unlink()  # its upload is tried again
                else:
                    target = folder / path.relative_to(made)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
        with contextlib.suppress(OSError):
            made.rmdir()
