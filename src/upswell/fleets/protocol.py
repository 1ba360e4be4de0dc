"""The fleet interface. A fleet keeps no state of its own: it reads the labels of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """A worker to start; built from settings only, never from a message.

    `environment` is not passed on the command line, because it contains the broker's password.
    """

    worker_id: str
    app_id: str
    standby: bool
    requested_at: float
    environment: dict[str, str]


class FleetWorker(Struct, frozen=True, kw_only=True):
    """A worker that the fleet has; `exit_code` is None if it is running or the code is unknown.

    `standby`: it was started as standby. `reports_status`: it is one of ours; other images send no
    WorkerStatus and obey no WorkerCommand. `node`: the machine that it is on, where the fleet has several.
    `pending`: why it does not run yet (its image is pulled, no node has room), counts as starting.
    `evicted`: the platform or its operator ended it, which is never counted as a crash. `cordoned`: its
    node is being emptied by its operator, so it is replaced and drained.
    """

    worker_id: str
    app_id: str
    state: Literal["running", "exited"]
    requested_at: float
    exit_code: int | None = None
    standby: bool = False
    reports_status: bool = True
    node: str = ""
    pending: str = ""
    evicted: bool = False
    cordoned: bool = False


class LogPart(Struct, frozen=True):
    """Whole lines of a worker's output, and the position after them, from which to read on."""

    lines: list[str]
    position: str


class Fleet(Protocol):
    """Starts and stops workers, which outlive the fleet object: a new one finds them again."""

    async def start(self, worker: WorkerSpec) -> None:
        """Request a worker; returns when it is requested, not when it is ready.

        A worker id asked for twice is one worker.

        Raises:
            FleetFullError: the platform takes no more workers at present.
            FleetError: it cannot be started.
        """
        ...

    async def list(self) -> list[FleetWorker]:
        """Return all workers of this fleet, including exited ones that are not yet forgotten.

        Raises:
            FleetError: they are unknown (never treated as "no workers").
        """
        ...

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` whenever workers may have changed, until cancelled.

        While it runs, `list` may answer from what it has seen. It does not raise when the platform is away:
        `list` says so.
        """
        ...

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM: the worker finishes its uploads and exits. No error if it is already gone."""
        ...

    async def kill(self, worker_id: str) -> None:
        """Kill a worker immediately; its uploads are redelivered."""
        ...

    async def forget(self, worker_id: str) -> None:
        """Remove the remains of an exited worker, including its exit code."""
        ...

    async def last_lines(self, worker_id: str) -> str:
        """Return a worker's last lines of output, for the log event of its crash; may be empty."""
        ...

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return a worker's lines after a position (empty: all that is kept; None: the newest), in order.

        At most `limit` lines, the newest; none for a worker that is unknown or whose log is gone.
        """
        ...

    def reload(self, settings: Settings) -> None:
        """Start workers by these settings from now on; those that run, and the fleet's own table, stay."""
        ...

    async def close(self) -> None:
        """Close the fleet's connections; the workers keep running."""
        ...
