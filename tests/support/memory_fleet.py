# ruff: noqa: D102 - the protocol says what each method does
"""A fleet in this process's memory: a double for unit tests of the scaler, with workers that a test plays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.errors import FleetError, FleetFullError
from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings


class MemoryFleet:
    """Keeps the protocol's promises; `broken` makes every question fail, `refuses` every start.

    No more than `holds` may run. Those that are `stuck` can be neither signalled nor removed.
    """

    def __init__(self) -> None:
        self.workers: dict[str, FleetWorker] = {}
        self.started: list[WorkerSpec] = []
        self.drained: list[str] = []
        self.killed: list[str] = []
        self.forgotten: list[str] = []
        self.broken = False
        self.refuses = False
        self.holds: int | None = None
        self.stuck: set[str] = set()
        self.on_list: Callable[[], None] = lambda: None
        self.on_change: Callable[[], None] | None = None
        self.settings: Settings | None = None

    async def start(self, worker: WorkerSpec) -> None:
        self._ask()
        if self.refuses:
            raise FleetError("the image must be there, got none")
        if self.holds is not None and len(self.workers) >= self.holds:
            raise FleetFullError(f"exceeded quota: {self.holds} pods")
        self.started.append(worker)
        self.add(worker.worker_id, app_id=worker.app_id, at=worker.requested_at, standby=worker.standby)

    async def list(self) -> list[FleetWorker]:
        self._ask()
        self.on_list()
        return list(self.workers.values())

    async def watch(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        await asyncio.get_running_loop().create_future()

    async def drain(self, worker_id: str) -> None:
        self._ask(worker_id)
        self.drained.append(worker_id)

    async def kill(self, worker_id: str) -> None:
        self._ask(worker_id)
        self.killed.append(worker_id)
        self.exits(worker_id, -9)

    async def forget(self, worker_id: str) -> None:
        self._ask(worker_id)
        self.forgotten.append(worker_id)
        self.workers.pop(worker_id, None)

    async def last_lines(self, worker_id: str) -> str:
        return f"the last words of {worker_id}"

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        lines = [f"the last words of {worker_id}"] if after != "1" else []
        return LogPart(lines[:limit], "1")

    def reload(self, settings: Settings) -> None:
        self.settings = settings

    async def close(self) -> None:
        pass

    def add(self, worker_id: str, *, app_id: str = "a1", at: float = 0.0, standby: bool = False) -> None:
        """Have a worker that runs."""
        self.workers[worker_id] = FleetWorker(
            worker_id=worker_id, app_id=app_id, state="running", requested_at=at, standby=standby
        )

    def exits(self, worker_id: str, exit_code: int | None = 0, *, evicted: bool = False) -> None:
        """Have a worker end."""
        self.workers[worker_id] = replace(
            self.workers[worker_id], state="exited", exit_code=exit_code, evicted=evicted
        )

    def pends(self, worker_id: str, reason: str) -> None:
        """Have the platform say why a worker does not run yet."""
        self.workers[worker_id] = replace(self.workers[worker_id], pending=reason)

    def _ask(self, worker_id: str = "") -> None:
        if self.broken:
            raise FleetError("the fleet must be reachable, got nothing")
        if worker_id in self.stuck:
            raise FleetError(f"{worker_id}: permission denied")
