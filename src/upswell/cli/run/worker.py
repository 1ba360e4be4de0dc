"""`upswell worker`: one upload worker, until SIGTERM drains it."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.metrics import with_worker_metrics
from upswell.errors import SettingsError

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("worker", cls=SettingsCommand)
@app_option(required=False, help="Application. Default: the only one in the settings.")
@with_settings("worker")
@click.option("--standby", is_flag=True, help="Connect, but consume only when activated.")
def command(app: str | None, settings: Settings, standby: bool) -> None:
    """Process upload requests from the queue; drain at SIGTERM or Ctrl-C."""
    from upswell.broker import open_broker  # noqa: PLC0415 - only after the options are validated
    from upswell.fleets.worker_settings import settings_hash, worker_settings  # noqa: PLC0415 - as above
    from upswell.handlers.registry import load_handler  # noqa: PLC0415 - as above
    from upswell.stores.rate_limit import RateLimit  # noqa: PLC0415 - as above
    from upswell.traces import WORKER, tracer_of  # noqa: PLC0415 - as above
    from upswell.worker import Worker  # noqa: PLC0415 - as above

    app = app or _only_app(settings)
    own = settings.for_app(app)
    worker_id, requested_at = _identity(app)
    limit = RateLimit(own.upload_rate_limit)
    worker = Worker(
        app_id=app,
        broker=open_broker(own, name=worker_id),
        handler=load_handler(own, limit=limit),
        settings=own,
        worker_id=worker_id,
        upload_queue=settings.upload_queue_of(app),
        report_queue=own.report_queue,
        standby=standby,
        requested_at=requested_at,
        limit=limit,
        settings_hash=settings_hash(worker_settings(own, app)),
        tracer=tracer_of(own, WORKER),
    )

    async def work() -> None:
        async with with_worker_metrics(settings, worker):
            await worker.run()

    asyncio.run(work())


def _only_app(settings: Settings) -> str:
    """Return the only application in the settings: a container is configured by variables."""
    if len(settings.apps) != 1:
        raise SettingsError(
            f"--app is required unless the settings have exactly one application, got {sorted(settings.apps)}"
        )
    return next(iter(settings.apps))


def _identity(app: str) -> tuple[str, float | None]:
    """Return the worker's id and when it was requested; one started by hand gets a random id."""
    from upswell.worker import new_worker_id  # noqa: PLC0415 - as above

    worker_id = os.environ.get("UPSWELL_WORKER_ID")
    requested_at = os.environ.get("UPSWELL_REQUESTED_AT")
    if worker_id:
        with suppress(ValueError):  # an invalid value set by hand: unknown
            return worker_id, float(requested_at or "")
        return worker_id, None
    return new_worker_id(app, random.SystemRandom()), None
