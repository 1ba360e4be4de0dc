"""What a fleet promises. It remembers nothing: what it runs is read from labels on the workers themselves."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """A worker to be started; all of it comes from settings, nothing from a message.

    `environment` reaches the worker without standing on its command line (it holds the broker's password).
    """

    worker_id: str
    app_id: str
    standby: bool
    requested_at: float
    environment: dict[str, str]


class FleetWorker(Struct, frozen=True, kw_only=True):
    """A worker that the fleet really has; `exit_code` is None where it runs, or where nobody saw it end.

    `standby`: it was started to stand by. `reports_status`: it is one of ours; an image written by others
    sends no WorkerStatus and takes no WorkerCommand.
    """

    worker_id: str
    app_id: str
    state: Literal["running", "exited"]
    requested_at: float
    exit_code: int | None = None
    standby: bool = False
    reports_status: bool = True


class Fleet(Protocol):
    """Starts and stops workers. They outlive it, and a new fleet object finds them again."""

    async def start(self, worker: WorkerSpec) -> None:
        """Ask for a worker to be started; returns when it was asked for, not when it is ready.

        Raises:
            FleetError: it cannot be started; the message says the rule and the value.
        """
        ...

    async def list(self) -> list[FleetWorker]:
        """Return every worker of this fleet, exited but not yet forgotten ones included.

        Raises:
            FleetError: it cannot be told (never read as "none").
        """
        ...

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM: the worker finishes its uploads and exits. One that is gone already is no error."""
        ...

    async def kill(self, worker_id: str) -> None:
        """End a worker at once, whatever it does; its uploads are redelivered."""
        ...

    async def forget(self, worker_id: str) -> None:
        """Drop what is left of a worker that has exited, its exit code included."""
        ...

    async def last_lines(self, worker_id: str) -> str:
        """Return the end of what a worker printed, for the log event of its crash; empty: nothing is kept."""
        ...

    async def close(self) -> None:
        """Let go of the fleet's connections; the workers go on."""
        ...
