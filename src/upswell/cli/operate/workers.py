"""`upswell workers`: each worker, and what it has in hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.connection import PATIENCE_SECONDS, connected
from upswell.cli.options import app_option, with_settings
from upswell.cli.safe_json import safe_json
from upswell.cli.text import counted, rough, size
from upswell.client.roster import describe_uploads
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from upswell.client.roster import Roster
    from upswell.messages import UploadInHand, WorkerStatus
    from upswell.settings import Settings

UPLOADS_SHOWN = 5
"""Uploads shown of each worker; with --json all that it lists."""

_HEADS = ("worker", "state", "busy", "rate", "since", "version", "settings")
_HASH_CHARACTERS = 6
_STYLES = {"draining": "yellow", "standby": "blue"}


@click.command("workers")
@app_option(multiple=True, help="Show only this application (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("workers", quiet="warning")
async def command(app: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Show each worker: state, busy slots, rate, since when, version, settings, and its uploads in hand."""
    async with connected(settings, "workers", patience=PATIENCE_SECONDS) as broker:
        roster = await describe_uploads(broker, settings.status_interval)
    found = [w for w in roster.workers(time.monotonic()) if not app or w.app_id in app]
    found.sort(key=lambda worker: (worker.app_id, worker.worker_id))
    if as_json:
        told = {"at": time.time(), "workers": [_json(worker, roster) for worker in found]}
        click.echo(safe_json(told))
    elif found:
        for line in lines(found, roster, time.time()):
            click.echo(line)
    else:
        of = f" of {', '.join(app)}" if app else ""
        click.echo(f"no worker{of} sends a status (upswell status shows queues and decisions)")


def lines(workers: Sequence[WorkerStatus], roster: Roster, now: float) -> Iterator[str]:
    """Give the lines of a report, application by application, not wider than 80 columns."""
    rows = {worker.worker_id: _row(worker, roster, now) for worker in workers}
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows.values(), strict=True)]
    for app_id in dict.fromkeys(worker.app_id for worker in workers):
        of_app = [worker for worker in workers if worker.app_id == app_id]
        yield _summary(app_id, of_app, roster)
        yield "  " + "  ".join(head.ljust(width) for head, width in zip(_HEADS, widths, strict=True)).rstrip()
        for worker in of_app:
            cells = [cell.ljust(width) for cell, width in zip(rows[worker.worker_id], widths, strict=True)]
            if worker.state in _STYLES:
                cells[1] = click.style(cells[1], fg=_STYLES[worker.state])
            yield "  " + "  ".join(cells).rstrip()
            uploads = roster.uploads(worker.worker_id) or ()
            yield from (f"      {_upload(upload)}" for upload in uploads[:UPLOADS_SHOWN])
            if worker.busy > UPLOADS_SHOWN:
                yield f"      and {worker.busy - UPLOADS_SHOWN} more (--json lists them)"


def _summary(app_id: str, workers: Sequence[WorkerStatus], roster: Roster) -> str:
    slots = sum(worker.slots for worker in workers if worker.state == "ready")
    busy = sum(worker.busy for worker in workers)
    rates = [rate for w in workers if (rate := roster.bytes_per_second(w.worker_id)) is not None]
    moved = f", {size(sum(rates))}/s" if rates else ""
    return f"{app_id}: {counted(len(workers), 'worker')}, {busy} of {counted(slots, 'slot')} busy{moved}"


def _row(worker: WorkerStatus, roster: Roster, now: float) -> tuple[str, ...]:
    rate, since = roster.bytes_per_second(worker.worker_id), _since(worker)
    return (
        worker.worker_id,
        worker.state,
        f"{worker.busy} of {worker.slots}",
        "-" if rate is None else f"{size(rate)}/s",
        "-" if since is None else rough(now - since),
        safe(worker.version or "-", 20),
        (worker.settings_hash or "-")[:_HASH_CHARACTERS],
    )


def _since(worker: WorkerStatus) -> float | None:
    return worker.started_at or worker.requested_at or worker.ready_at


def _upload(upload: UploadInHand) -> str:
    name = safe(upload.key or upload.request_id or "an invalid request", 40)
    moved = size(upload.bytes)
    if upload.size_bytes is not None:
        moved += f" of {size(upload.size_bytes)}"
    parts = [moved, rough(upload.seconds)]
    if upload.seconds > 0 and upload.bytes:
        parts.insert(1, f"{size(upload.bytes / upload.seconds)}/s")
    if upload.attempt > 1:
        parts.append(f"attempt {upload.attempt}")
    if upload.waits:
        parts.append("waits")
    return f"{name}  {', '.join(parts)}"


def _json(worker: WorkerStatus, roster: Roster) -> dict[str, Any]:
    uploads = roster.uploads(worker.worker_id)
    return {
        "app_id": worker.app_id,
        "worker_id": worker.worker_id,
        "state": worker.state,
        "busy": worker.busy,
        "slots": worker.slots,
        "bytes_per_second": roster.bytes_per_second(worker.worker_id),
        "moved_bytes": worker.moved_bytes,
        "since": _since(worker),
        "version": worker.version,
        "settings_hash": worker.settings_hash,
        "uploads": None if uploads is None else [msgspec.structs.asdict(upload) for upload in uploads],
    }
