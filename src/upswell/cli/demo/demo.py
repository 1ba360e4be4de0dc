"""`upswell demo`: the whole system on this machine in about a minute, with real files."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct
from rich.console import Console

from upswell import events
from upswell.broker import topology
from upswell.broker.declaring import declare_upload_queue
from upswell.cli.connection import Interrupts, connected, first_to_end, on_hang_up, run, unique_name
from upswell.cli.demo.plan import OBJECTIVE, Plan, checksum, make_files, take_files
from upswell.cli.demo.view import SHOWN, Now, View, change, open_view
from upswell.cli.options import config_option, finite
from upswell.cli.run.up import drain
from upswell.cli.run.wiring import monitoring, scaling
from upswell.cli.text import counted, seconds
from upswell.messages import UploadRequest
from upswell.publisher import Publisher
from upswell.publisher.replies import Replies
from upswell.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.scaler import Scaler
    from upswell.scaler.plan import Phase

REFRESH = 0.2
FINISH_SECONDS = 120.0
"""How long the demo waits for uploads after the last publish."""
EBB_SECONDS = 30.0
"""How long it waits for scaling in to the minimum."""


class Summary(Struct, frozen=True, kw_only=True):
    """The output of `--json`; times in seconds, `attainment` is the share of uploads within the target."""

    published: int
    stored: int
    verified: int
    lost: int
    duplicates: int
    attainment: float
    p95_response_time: float | None
    peak_workers: int
    final_workers: int
    worker_seconds: float
    decisions: int


@click.command("demo")
@click.option(
    "--files",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Upload these files. Default: generated files.",
)
@click.option(
    "--seconds",
    "duration",
    type=click.FloatRange(6, 3600),
    callback=finite,
    default=45.0,
    show_default=True,
    help="Duration of the quiet, burst and calm phases together.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Random seed of sizes and arrivals.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line at the end.")
@config_option
def command(files: Path | None, duration: float, seed: int, as_json: bool, config: str | None) -> int:
    """Watch the whole system: files are published in a quiet, a burst and a calm phase, and workers scale.

    Uses an embedded broker in a temporary folder, or the RabbitMQ of AMQPURL. At the end every stored object
    is read back and compared with its source.
    """
    found, _ = load(file=config)
    events.configure(level="warning")
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="upswell-demo-") as name:
        folder = Path(name)
        sources = files.absolute() if files else folder / "files"
        if files is None:
            sources.mkdir()
        plan = (take_files if files else make_files)(sources, duration, seed)
        settings = demo_settings(found, folder, sources, plan.rate)
        demo = Demo(settings, plan, open_view(console))
        summary = run(demo.run(), handle_sigterm=False)
    if summary is None:
        raise click.Abort
    if as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        _print(summary, demo.duration, console)
    return 1 if summary.lost or summary.verified != summary.published else 0


def demo_settings(found: Settings, folder: Path, sources: Path, rate: float) -> Settings:
    """Return the demo's settings; from the user's settings it takes only the broker."""
    app = f"demo-{secrets.token_hex(4)}"  # separate queues, because RabbitMQ may be shared
    flags: dict[str, Any] = {
        "broker_url": found.broker_url,
        "brokers": found.brokers,
        "state_dir": str(folder / "state"),
        "destination": str(folder / "store"),
        "source_roots": [str(sources)],
        "report_queue": f"{app}_report",
        "slo": str(OBJECTIVE),
        "slots": 1,
        "upload_rate_limit": rate,
        "max_workers": 8,
        "window": 8.0,
        "stabilization_window": 6.0,
        "decision_interval": 0.5,
        "status_interval": 0.5,
        "log_level": "warning",
        "apps": {app: {}},
    }
    settings, _ = load(flags, environment={}, file="/dev/null")
    return settings


class Demo:
    """One run: publish, watch, wait for scaling in, verify."""

    def __init__(self, settings: Settings, plan: Plan, view: View) -> None:
        self._settings = settings
        (self._app,) = settings.apps
        self._queue = settings.upload_queue_of(self._app)
        self._plan = plan
        self._view = view
        self._replies = Replies()
        self.duration = 0.0
        self._phase = "starting"
        self._peak = 0
        self._decisions = 0

    async def run(self) -> Summary | None:
        """Return the summary, or None if interrupted; the workers are drained in both cases."""
        interrupts = Interrupts()
        on_hang_up(interrupts.interrupt, interrupts.interrupt)
        async with (
            connected(self._settings, "demo") as broker,
            monitoring(self._settings, broker, self._note) as monitor,
            scaling(self._settings, broker) as scaler,
        ):
            await declare_upload_queue(broker, self._queue, delivery_limit=self._settings.delivery_limit)
            reply_to = await self._replies.listen(broker, topology.reply_queue(unique_name("demo")))
            publisher = Publisher(broker=broker, upload_queue=self._queue, reply_to=reply_to)
            story = asyncio.create_task(self._tell(publisher, scaler))
            loops = [asyncio.create_task(monitor.run()), asyncio.create_task(scaler.run())]
            try:
                await first_to_end(story, *loops, interrupts.next())
                complete = story.done()
                final = len(scaler.workers())
            finally:
                with suppress(OSError):  # the terminal may be gone; drain the workers anyway
                    self._view.close()
                for task in (story, *loops):
                    task.cancel()
                await asyncio.gather(story, *loops, return_exceptions=True)
                await drain(scaler, interrupts)
            worker_seconds = scaler.totals().worker_seconds
        await self._delete_queues()
        return self._summary(publisher, final, worker_seconds) if complete else None

    async def _tell(self, publisher: Publisher, scaler: Scaler) -> None:
        """Publish as planned, then wait for the last upload and for scaling in."""
        started_at = time.monotonic()
        showing = asyncio.create_task(self._show(publisher, scaler))
        try:
            await _until(lambda: any(w.phase == "ready" for w in scaler.workers()), FINISH_SECONDS)
            naming = asyncio.create_task(self._name_phases())
            await publisher.publish_all(self._requests(), pace=iter(self._plan.arrivals))
            await naming
            self._phase = "waiting for the last upload"
            await _until(lambda: not self._replies.outstanding, FINISH_SECONDS)
            self._phase = "waiting for the workers to scale in"
            await _until(lambda: len(scaler.workers()) <= self._settings.min_workers, EBB_SECONDS)
        finally:
            showing.cancel()
            self.duration = time.monotonic() - started_at

    async def _show(self, publisher: Publisher, scaler: Scaler) -> None:
        while True:
            phases = [worker.phase for worker in scaler.workers()]
            workers: dict[Phase, int] = {phase: phases.count(phase) for phase in SHOWN}
            self._peak = max(self._peak, workers["ready"])
            self._view.show(
                Now(
                    phase=self._phase,
                    published=publisher.published,
                    planned=len(self._plan.arrivals),
                    stored=self._replies.stored,
                    workers=workers,
                )
            )
            await asyncio.sleep(REFRESH)

    async def _name_phases(self) -> None:
        for phase in self._plan.phases:
            self._phase = phase.name
            self._view.say(f"{phase.name}: {phase.rate:g} uploads/s for {phase.seconds:.0f} s")
            await asyncio.sleep(phase.seconds)

    async def _requests(self) -> AsyncIterator[UploadRequest]:
        for number, (file, length) in enumerate(zip(self._plan.files, self._plan.sizes, strict=True)):
            request_id = f"{self._app}-{number:04d}"
            self._replies.expect(request_id)
            yield UploadRequest(
                app_id=self._app,
                id=request_id,
                type="file",
                uri=file.as_uri(),
                key=_key(number),
                size_bytes=length,
            )

    def _note(self, snapshot: Snapshot, decision: Decision) -> None:
        self._view.snapshot = snapshot
        if sentence := change(decision):
            self._decisions += 1
            self._view.say(sentence, "bold")

    async def _delete_queues(self) -> None:
        """Delete the demo's queues, because RabbitMQ may be shared; they have no consumers now."""
        reports = self._settings.report_queue
        async with connected(self._settings, "demo") as broker:
            for queue in (
                self._queue,
                topology.dead_letter_queue(self._queue).name,
                reports,
                topology.refused_report_queue(reports).name,
                topology.scaling_queue(reports).name,
            ):
                await broker.delete(queue)

    def _summary(self, publisher: Publisher, final_workers: int, worker_seconds: float) -> Summary:
        store = Path(self._settings.destination)
        verified = lost = 0
        for number in range(publisher.published):
            stored = checksum(store / _key(number))
            verified += stored is not None and stored == checksum(self._plan.files[number])
            lost += stored is None
        times = self._replies.response_times
        return Summary(
            published=publisher.published,
            stored=self._replies.stored,
            verified=verified,
            lost=lost,
            duplicates=self._replies.duplicates,
            attainment=sum(t <= OBJECTIVE.seconds for t in times) / max(1, publisher.published),
            p95_response_time=self._replies.percentiles()[1],
            peak_workers=self._peak,
            final_workers=final_workers,
            worker_seconds=round(worker_seconds, 1),
            decisions=self._decisions,
        )


def _key(number: int) -> str:
    return f"{number:04d}"


async def _until(condition: Any, timeout: float) -> None:
    """Return when the condition holds, or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - polls what has no event
        await asyncio.sleep(REFRESH / 2)


def _print(summary: Summary, duration: float, console: Console) -> None:
    s = summary
    fixed = s.peak_workers * duration
    console.print(
        f"\n{s.published} uploads published, {s.stored} stored, {s.lost} lost, {s.duplicates} stored twice.\n"
        f"{s.attainment:.1%} stored within {OBJECTIVE.seconds:g} s (target {OBJECTIVE.share:.0%}), "
        f"p95 {seconds(s.p95_response_time)}.\n"
        f"Workers: 1 -> {s.peak_workers} -> {s.final_workers}, in {counted(s.decisions, 'decision')}; "
        f"{s.worker_seconds:g} worker-seconds, against {fixed:.0f} with {s.peak_workers} all the time.\n"
        f"Verified: {s.verified} of {s.published} objects, read back, have the SHA-256 of their source.",
        markup=False,
        highlight=False,
    )
