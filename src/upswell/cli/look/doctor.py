"""`upswell doctor`: check the installation. Each line is ok, or says what to do.

In: settings. Out: lines, and exit status 1 if one is not ok. It leaves nothing behind: its own queue is
deleted with its connection, and it declares no other queue that does not exist.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from upswell.broker import Message, broker_entry, topology
from upswell.broker.registry import REGISTRY
from upswell.cli.connection import PATIENCE_SECONDS, connected, run, unique_name
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import counted, seconds, size
from upswell.errors import BrokerError, UpswellError
from upswell.events import capture
from upswell.fleets.registry import check_fleet
from upswell.safe import masked_url, safe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from upswell.broker import Broker
    from upswell.settings import Settings

LEAST_FREE_BYTES = 1024**3


class CheckResult(Struct, frozen=True):
    """One line: the subject, whether it is ok, and what was found or what to do."""

    subject: str
    ok: bool
    words: str


@click.command("doctor")
@app_option(multiple=True, help="Check this application (repeatable). Default: those in the settings.")
@with_settings("doctor", quiet="error")
def command(app: tuple[str, ...], settings: Settings) -> int:  # noqa: ARG001 - the settings hold it
    """Check broker, permissions, queues, disk, fleet and clock; exit 1 if something needs fixing."""
    return run(_report(settings))


async def _report(settings: Settings) -> int:
    well = True
    async for finding in _findings(settings):
        click.echo(f"{'ok ' if finding.ok else 'NOT'} {finding.subject}: {safe(finding.words)}")
        well &= finding.ok
    return 0 if well else 1


async def _findings(settings: Settings) -> AsyncIterator[CheckResult]:
    async for finding in _broker(settings):
        yield finding
    for finding in (*_folders(settings), *_applications(settings)):
        yield finding
    yield await _fleet(settings)
    yield await asyncio.to_thread(_clock, settings)


async def _broker(settings: Settings) -> AsyncIterator[CheckResult]:
    local = broker_entry(settings).local
    where = f"{settings.broker} in {settings.state_path}" if local else masked_url(settings.broker_url)
    try:
        async with connected(settings, "doctor", patience=PATIENCE_SECONDS) as broker:
            yield CheckResult("broker", True, where)
            yield CheckResult("permissions", True, await _round_trip(broker))
            for finding in await _queues(settings, broker):
                yield finding
    except UpswellError as error:
        yield CheckResult("broker", False, f"{error} (set AMQPURL, or unset it to use the embedded broker)")


async def _round_trip(broker: Broker) -> str:
    """Use a private queue in every way that Upswell does."""
    queue = topology.Queue(
        name=unique_name("upswell.doctor"), exclusive=True, bound_to=topology.STATUS_EXCHANGE
    )
    begun = time.monotonic()
    await broker.declare(queue)
    await broker.publish(Message(body=b"{}", routing_key=queue.name))
    delivery = await broker.get(queue.name)
    if delivery is not None:
        broker.ack(delivery)
    await broker.delete(queue.name)
    return f"declared, wrote, read and deleted a queue in {seconds(time.monotonic() - begun)}"


async def _queues(settings: Settings, broker: Broker) -> list[CheckResult]:
    """Declare the existing queues again, which reveals those with weaker arguments."""
    queues = [topology.report_queue(settings.report_queue), topology.scaling_queue(settings.report_queue)]
    for app in settings.apps:
        name = settings.upload_queue_of(app)
        limit = settings.for_app(app).delivery_limit
        queues += [topology.dead_letter_queue(name), topology.upload_queue(name, delivery_limit=limit)]
    findings: list[CheckResult] = []
    there = [queue for queue in queues if await broker.depth(queue.name) is not None]

    for queue in there:
        try:
            with capture() as logged:
                await broker.declare(queue)
        except UpswellError as error:
            findings.append(CheckResult(f"queue {queue.name}", False, f"{error}; rename or delete it"))
            continue
        findings += [
            _weaker(queue.name, event) for event in logged if event["event"] == "broker.queue_differs"
        ]
    missing = len(queues) - len(there)
    findings.append(
        CheckResult("queues", True, f"{len(there)} declared, {missing} not yet (declared when needed)")
    )
    return findings


def _weaker(queue: str, event: Any) -> CheckResult:
    advice = "drain and delete it, then Upswell declares it again"
    return CheckResult(f"queue {queue}", False, f"has weaker arguments ({event.get('weaker')}); {advice}")


def _folders(settings: Settings) -> Iterator[CheckResult]:
    yield _folder("state_dir", settings.state_path)
    for destination in {settings.for_app(app).destination_path for app in settings.apps}:
        if "://" not in destination.removeprefix("file://"):
            yield _folder("destination", Path(destination.removeprefix("file://")))


def _folder(name: str, path: Path) -> CheckResult:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-"):
            free = shutil.disk_usage(path).free
    except OSError as error:
        return CheckResult(name, False, f"{path} is not a writable folder: {error.strerror}")
    if free < LEAST_FREE_BYTES:
        return CheckResult(
            name, False, f"{path} has only {size(free)} free: free at least {size(LEAST_FREE_BYTES)}"
        )
    return CheckResult(name, True, f"{path}, {size(free)} free")


def _applications(settings: Settings) -> Iterator[CheckResult]:
    if not settings.apps:
        yield CheckResult(
            "applications",
            True,
            "none in the settings, so nothing is scaled (set UPSWELL_APPS, or add [apps.X])",
        )
    for app in settings.apps:
        own = settings.for_app(app)
        roots = [Path(root).expanduser() for root in own.source_roots]
        bad = [str(root) for root in roots if not root.is_dir()]
        if bad:
            yield CheckResult(app, False, f"source_roots must be folders, got {', '.join(bad)}")
        elif own.handler == "upload" and not roots:
            yield CheckResult(
                app, False, "source_roots is empty, so no files can be read: set UPSWELL_SOURCE_ROOTS"
            )
        else:
            yield CheckResult(
                app,
                True,
                f"{own.slo}, {own.min_workers} to {counted(own.max_workers, 'worker')}, slots: {own.slots}",
            )


async def _fleet(settings: Settings) -> CheckResult:
    try:
        return CheckResult("fleet", True, await check_fleet(settings))
    except UpswellError as error:
        return CheckResult("fleet", False, str(error))


def _clock(settings: Settings) -> CheckResult:
    """Compare this machine's clock with the broker's, if its management API provides it."""
    now = time.time()
    if now < Path(__file__).stat().st_mtime - 86400:
        return CheckResult(
            "clock", False, f"shows {time.ctime(now)}, before Upswell was installed: set it (NTP)"
        )
    check = REGISTRY.check(settings.broker)
    try:
        return CheckResult("clock", True, time.ctime(now) if check is None else check(settings))
    except BrokerError as error:
        return CheckResult("clock", False, str(error))
