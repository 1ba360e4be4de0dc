"""Workers as processes on this machine, in their own sessions: they outlive the scaler that started them.

In: worker specs. Out: processes, and for each a label file `state_dir/workers/{worker_id}.json`. A new fleet
finds its processes by these files and checks them against `/proc`, so a reused process id is never mistaken
for a worker. It knows neither why a worker is needed nor what it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from upswell.errors import FleetError
from upswell.fleets import processes
from upswell.fleets.environment import identity
from upswell.fleets.process_ends import ProcessEnds
from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec
from upswell.fleets.worker_logs import WorkerLogs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from upswell.settings import Settings

WORKER_COMMAND = (sys.executable, "-m", "upswell", "worker")

INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
)
"""Variables that a worker inherits from its scaler besides its settings. Nothing else: no stray secrets."""

LAUNCH_SECONDS = 10.0
"""How long a process may take from its label to being itself, on a machine that holds it up."""

_RESET_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


class ProcessRecord(Struct, frozen=True, kw_only=True):
    """The label file of a worker; `pid` is None until the process has started.

    `start_ticks`: when the kernel started the process; differs for a later process with the same id.
    """

    worker_id: str
    app_id: str
    requested_at: float
    standby: bool
    pid: int | None = None
    start_ticks: int | None = None


def open_process_fleet(settings: Settings) -> ProcessFleet:
    """Return the fleet of a state folder."""
    return ProcessFleet(settings.state_path)


class ProcessFleet:
    """Starts and stops worker processes; Linux only, since it reads `/proc`."""

    def __init__(self, state_path: Path, *, command: Sequence[str] = WORKER_COMMAND) -> None:
        """Keep labels and logs below `state_path`; `command` gets `--app APP` [`--standby`] appended."""
        self._folder = state_path / "workers"
        self._logs = WorkerLogs(state_path / "logs")
        self._command = tuple(command)
        self._exit_codes: dict[str, int] = {}
        self._ends = ProcessEnds()
        # One at a time: list() in one thread must not mistake a worker that start() is creating for an
        # exited one.
        self._lock = asyncio.Lock()

    async def start(self, worker: WorkerSpec) -> None:
        """Start a process, its input closed, its output in `state_dir/logs/{worker_id}.log`."""
        async with self._lock:
            if not self._path(worker.worker_id).exists():
                self._ends.follow([await asyncio.to_thread(self._start, worker)])

    async def list(self) -> list[FleetWorker]:
        """Return the workers that have a label file, running or exited."""
        async with self._lock:
            workers, pids = await asyncio.to_thread(self._list)
        self._ends.follow(pids)
        return workers

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` when a process ends, which the kernel says."""
        await self._ends.watch(on_change)

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM."""
        async with self._lock:
            self._signal(worker_id, signal.SIGTERM)

    async def kill(self, worker_id: str) -> None:
        """Send SIGKILL."""
        async with self._lock:
            self._signal(worker_id, signal.SIGKILL)

    async def forget(self, worker_id: str) -> None:
        """Remove the worker's label file; its log is kept for a while."""
        async with self._lock:
            try:
                self._path(worker_id).unlink(missing_ok=True)
            except OSError as error:
                raise FleetError(f"cannot remove the label of {worker_id}: {error}") from error
            self._exit_codes.pop(worker_id, None)

    async def last_lines(self, worker_id: str) -> str:
        """Return the end of the worker's log."""
        return await asyncio.to_thread(self._logs.last_lines, worker_id)

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return lines of the worker's log file, which outlives the worker for a while."""
        return await asyncio.to_thread(self._logs.read, worker_id, after=after, limit=limit)

    def reload(self, settings: Settings) -> None:
        """Do nothing: a worker's environment tells it all."""

    async def close(self) -> None:
        """Do nothing: a process needs no connection."""

    def _start(self, worker: WorkerSpec) -> int:
        record = ProcessRecord(
            worker_id=worker.worker_id,
            app_id=worker.app_id,
            requested_at=worker.requested_at,
            standby=worker.standby,
        )
        try:
            # Write the label first: if we are killed in between, the process is found by its environment.
            self._write(record)
            pid = self._spawn(worker)
            self._write(self._started(record, pid))
        except OSError as error:
            if processes.find(worker.worker_id) is None:
                self._path(worker.worker_id).unlink(missing_ok=True)
            raise FleetError(
                f"cannot start a worker ({self._command[0]}, label in {self._folder}): {error}"
            ) from error
        return pid

    def _spawn(self, worker: WorkerSpec) -> int:
        arguments = [*self._command, "--app", worker.app_id, *(["--standby"] if worker.standby else [])]
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        # Not subprocess.Popen: that object must outlive its process, and these processes outlive us.
        return os.posix_spawn(
            arguments[0],
            arguments,
            {**inherited, **worker.environment, **identity(worker)},
            file_actions=self._logs.file_actions(worker.worker_id),
            setsid=True,
            setsigdef=_RESET_SIGNALS,
            setsigmask=(signal.SIGHUP,),  # a worker unblocks it once it can take it: it must not end one
        )

    def _started(self, record: ProcessRecord, pid: int) -> ProcessRecord:
        process = processes.look(pid)
        return msgspec.structs.replace(record, pid=pid, start_ticks=process.start_ticks if process else 0)

    def _list(self) -> tuple[list[FleetWorker], list[int]]:
        """Return the workers, and the ids of the processes that run."""
        try:
            paths = sorted(self._folder.glob("*.json"))
        except OSError as error:
            raise FleetError(f"cannot read the workers' folder {self._folder}: {error}") from error
        records = [self._found(record) for path in paths if (record := self._read(path)) is not None]
        workers = [self._look(record) for record in records]
        self._logs.prune({worker.worker_id for worker in workers})
        running = {worker.worker_id for worker in workers if worker.state == "running"}
        return workers, [record.pid for record in records if record.pid and record.worker_id in running]

    def _found(self, record: ProcessRecord) -> ProcessRecord:
        if record.pid is None and (process := processes.find(record.worker_id)) is not None:
            record = self._started(record, process.pid)
            self._write(record)
        return record

    def _look(self, record: ProcessRecord) -> FleetWorker:
        return FleetWorker(
            worker_id=record.worker_id,
            app_id=record.app_id,
            state="running" if self._runs(record) else "exited",
            requested_at=record.requested_at,
            exit_code=self._exit_codes.get(record.worker_id),
            standby=record.standby,
        )

    def _runs(self, record: ProcessRecord) -> bool:
        """Return whether a worker is running; an ended one is reaped and its exit code kept."""
        if record.pid is None:  # its scaler was killed in mid-start: it may not have become itself yet
            return 0 <= time.time() - record.requested_at < LAUNCH_SECONDS
        if record.worker_id in self._exit_codes:
            return False
        process = processes.look(record.pid)
        if process is None or process.start_ticks != record.start_ticks:
            return False
        if (code := processes.reap(record.pid)) is not None:
            self._exit_codes[record.worker_id] = code
            return False
        # A child counts as running until it is reaped: its environment vanishes before its exit code appears.
        if processes.is_child(record.pid):
            return True
        return not process.ended and processes.carries(record.pid, record.worker_id) is not False

    def _signal(self, worker_id: str, number: signal.Signals) -> None:
        record = self._read(self._path(worker_id))
        if record is None or record.pid is None:
            return
        try:
            handle = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return
        try:
            # Check after opening the handle, which refers to this very process even if its id is reused.
            if self._runs(record):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}.json"

    def _read(self, path: Path) -> ProcessRecord | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=ProcessRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            if processes.find(path.stem) is None:
                # A file half written at a power cut belongs to no running process.
                path.unlink(missing_ok=True)
                return None
            raise FleetError(f"cannot read the label of a running worker, {path}: {error}") from error

    def _write(self, record: ProcessRecord) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(record.worker_id)
        whole = path.with_suffix(".new")
        whole.write_bytes(msgspec.json.encode(record))
        whole.replace(path)
