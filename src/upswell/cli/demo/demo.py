"""`upswell demo`: the whole system on this machine in about a minute, with real files."""

from __future__ import annotations

import asyncio
import functools
import re
import secrets
import signal
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from upswell import events
from upswell.broker import topology
from upswell.cli.connection import Interrupts, connected, first_to_end, on_hang_up, run
from upswell.cli.demo.captions import Captions
from upswell.cli.demo.plan import OBJECTIVE, Plan, make_files, take_files
from upswell.cli.demo.side import DemoSide, Summary
from upswell.cli.demo.view import SHOWN, Now, View, change, open_view
from upswell.cli.journals import journal_path
from upswell.cli.look.dashboard import PORT, opening, show_page
from upswell.cli.options import config_option, finite
from upswell.cli.run.monitoring import monitoring
from upswell.cli.run.scaling import scaling
from upswell.cli.run.up import drain
from upswell.cli.text import counted, seconds
from upswell.journal import JournalReader
from upswell.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.scaler import Scaler

REFRESH = 0.2
FINISH_SECONDS = 120.0
"""How long the demo waits for uploads after the last publish."""
EBB_SECONDS = 30.0
"""How long it waits for scaling in to the minimum."""
SHORT, LECTURE = 45.0, 180.0
"""Seconds of a demo in a terminal, and of one that a class watches on the page."""
MOST_POLICIES = 4


def _policies(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))
    if len(names) > MOST_POLICIES:
        raise click.BadParameter(f"at most {MOST_POLICIES} policies stand side by side, got {len(names)}")
    return names


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
    help="Duration of the quiet, burst and calm phases together.  [default: 45, with --dashboard 180]",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Random seed of sizes and arrivals.")
@click.option(
    "--policies",
    callback=_policies,
    metavar="A,B",
    help="Policies that meet the same burst side by side, also your own package.module:Class.",
)
@click.option("--dashboard", is_flag=True, help="Show it on the live page, with captions, until Ctrl-C.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port of the page."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line at the end.")
@config_option
def command(
    *,
    files: Path | None,
    duration: float | None,
    seed: int,
    policies: tuple[str, ...],
    dashboard: bool,
    port: int,
    as_json: bool,
    config: str | None,
) -> int:
    """Watch the whole system: files are published in a quiet, a burst and a calm phase, and workers scale.

    Uses an embedded broker in a temporary folder, or the RabbitMQ of AMQPURL. At the end every stored object
    is read back and compared with its source.
    """
    found, _ = load(file=config)
    events.configure(level="warning")
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="upswell-demo-") as name, _no_ctrl_c_afterwards():
        folder = Path(name)
        sources = files.absolute() if files else folder / "files"
        if files is None:
            sources.mkdir()
        length = duration or (LECTURE if dashboard else SHORT)
        plan = (take_files if files else make_files)(sources, length, seed)
        settings, titles = demo_settings(found, folder, sources, plan.rate, policies)
        demo = Demo(settings, titles, plan, open_view(console), port if dashboard else None)
        telling = functools.partial(_tell_summaries, demo=demo, console=console, as_json=as_json)
        summaries = run(demo.run(telling), handle_sigterm=False)
    if summaries is None:
        raise click.Abort
    return int(any(one.lost or one.verified != one.published for one in summaries.values()))


@contextmanager
def _no_ctrl_c_afterwards() -> Generator[None]:
    """Ignore Ctrl-C from the end on: a late one would leave the folder half removed, or a traceback."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell_summaries(summaries: dict[str, Summary], demo: Demo, console: Console, *, as_json: bool) -> None:
    several = len(summaries) > 1
    if as_json:
        told: Any = summaries if several else next(iter(summaries.values()))
        click.echo(msgspec.json.encode(told).decode())
        return
    for title, summary in summaries.items():
        if several:
            console.print(f"\n{title}", style="bold", markup=False)
        _print(summary, demo.duration, console)


def demo_settings(
    found: Settings, folder: Path, sources: Path, rate: float, policies: tuple[str, ...] = ()
) -> tuple[Settings, dict[str, str]]:
    """Return the demo's settings, and each application's title; from the user's it takes only the broker."""
    name = f"demo-{secrets.token_hex(4)}"  # separate queues, because RabbitMQ may be shared
    apps: dict[str, dict[str, str]] = {name: {}}
    titles = {name: "demo"}
    if policies:
        names = [f"{name}-{number}{_slug(policy)}" for number, policy in enumerate(policies)]
        apps = {app: {"policy": policy} for app, policy in zip(names, policies, strict=True)}
        titles = {app: own["policy"] for app, own in apps.items()}
    flags: dict[str, Any] = {
        "broker_url": found.broker_url,
        "brokers": found.brokers,
        "state_dir": str(folder / "state"),
        "destination": str(folder / "store" / "{app_id}"),
        "source_roots": [str(sources)],
        "report_queue": f"{name}_report",
        "slo": str(OBJECTIVE),
        "slots": 1,
        "upload_rate_limit": rate,
        "max_workers": 8,
        "window": 8.0,
        "stabilization_window": 6.0,
        "decision_interval": 0.5,
        "status_interval": 0.5,
        "log_level": "warning",
        "dashboard_token": found.dashboard_token,
        "apps": apps,
    }
    settings, _ = load(flags, environment={}, file="/dev/null")
    return settings, titles


def _slug(policy: str) -> str:
    return f"-{re.sub('[^A-Za-z0-9]+', '-', policy)[:30]}"


class Demo:
    """One run: publish, watch, wait for scaling in, verify; on the page with a `port`."""

    def __init__(
        self, settings: Settings, titles: dict[str, str], plan: Plan, view: View, port: int | None = None
    ) -> None:
        self._settings = settings
        self._titles = titles
        self._sides = {app: DemoSide(settings, app, plan, title) for app, title in titles.items()}
        self._plan = plan
        self._view = view
        self._port = port
        self._captions: Captions | None = None
        self.duration = 0.0
        self._phase = "starting"

    async def run(self, tell: Callable[[dict[str, Summary]], None]) -> dict[str, Summary] | None:
        """Tell and return each side's summary, or None if interrupted; workers are drained in both cases."""
        interrupts = Interrupts()
        on_hang_up(interrupts.interrupt, interrupts.interrupt)
        async with AsyncExitStack() as page:
            lecture = await self._open_page(page)
            summaries = await self._perform(interrupts)
            if summaries is None:
                return None
            tell(summaries)
            if lecture:
                click.echo("the page stays until Ctrl-C", err=True)
                await interrupts.next()
        return summaries

    async def _open_page(self, page: AsyncExitStack) -> bool:
        """Open the live page where it is wanted; return whether."""
        if self._port is None:
            return False
        from upswell.dashboard.lecture import Lecture  # noqa: PLC0415 - only for the page

        lecture = Lecture(self._titles)
        self._captions = Captions(lecture, self._titles)
        opened = await page.enter_async_context(opening(self._settings, port=self._port, lecture=lecture))
        show_page(opened)
        return True

    async def _perform(self, interrupts: Interrupts) -> dict[str, Summary] | None:
        async with (
            connected(self._settings, "demo") as broker,
            monitoring(self._settings, broker, self._note) as monitor,
            scaling(self._settings, broker) as scaler,
        ):
            for side in self._sides.values():
                await side.prepare(broker)
            story = asyncio.create_task(self._tell(scaler))
            loops = [asyncio.create_task(monitor.run()), asyncio.create_task(scaler.run())]
            interrupted = interrupts.next()
            try:
                await first_to_end(story, *loops, interrupted)
                complete = story.done()
                final = {app: sum(w.app_id == app for w in scaler.workers()) for app in self._sides}
            finally:
                with suppress(OSError):  # the terminal may be gone; drain the workers anyway
                    self._view.close()
                for task in (story, interrupted, *loops):  # the next Ctrl-C is for whoever waits then
                    task.cancel()
                await asyncio.gather(story, interrupted, *loops, return_exceptions=True)
                await drain(scaler, interrupts)
            total = scaler.costs.worker_seconds(time.time())
        await self._delete_queues()
        if not complete:
            return None
        return {
            side.title: side.summary(final[app], total if len(self._sides) == 1 else self._billed(app))
            for app, side in self._sides.items()
        }

    def _billed(self, app: str) -> float:
        newest = JournalReader(journal_path(self._settings)).latest(app)
        return newest.bill.worker_seconds if newest and newest.bill else 0.0

    async def _tell(self, scaler: Scaler) -> None:
        """Publish as planned, then wait for the last upload and for scaling in."""
        started_at = time.monotonic()
        sides = list(self._sides.values())
        showing = asyncio.create_task(self._show(scaler))
        try:
            await _until(lambda: _ready(scaler) >= set(self._sides), FINISH_SECONDS)
            naming = asyncio.create_task(self._name_phases())
            await asyncio.gather(*(side.publish() for side in sides))
            await naming
            self._phase = "waiting for the last upload"
            await _until(lambda: not any(side.replies.outstanding for side in sides), FINISH_SECONDS)
            self._phase = "waiting for the workers to scale in"
            least = self._settings.min_workers * len(sides)
            await _until(lambda: len(scaler.workers()) <= least, EBB_SECONDS)
            if self._captions is not None:
                self._captions.end()
        finally:
            showing.cancel()
            self.duration = time.monotonic() - started_at

    async def _show(self, scaler: Scaler) -> None:
        while True:
            found = scaler.workers()
            for app, side in self._sides.items():
                side.peak = max(side.peak, sum(w.app_id == app and w.phase == "ready" for w in found))
            self._view.show(
                Now(
                    phase=self._phase,
                    published=sum(side.published for side in self._sides.values()),
                    planned=len(self._plan.arrivals) * len(self._sides),
                    stored=sum(side.replies.stored for side in self._sides.values()),
                    workers={phase: sum(w.phase == phase for w in found) for phase in SHOWN},
                )
            )
            await asyncio.sleep(REFRESH)

    async def _name_phases(self) -> None:
        for phase in self._plan.phases:
            self._phase = phase.name
            self._view.say(f"{phase.name}: {phase.rate:g} uploads/s for {phase.seconds:.0f} s")
            if self._captions is not None:
                self._captions.phase(phase)
            await asyncio.sleep(phase.seconds)

    def _note(self, snapshot: Snapshot, decision: Decision) -> None:
        side = self._sides.get(snapshot.app_id)
        if side is None:
            return
        if snapshot.app_id == next(iter(self._sides)):  # of several, the view shows the first
            self._view.take(snapshot, decision)
        if self._captions is not None:
            self._captions.see(snapshot, decision)
        if sentence := change(decision):
            side.decisions += 1
            self._view.say(f"{side.title}: {sentence}" if len(self._sides) > 1 else sentence, "bold")

    async def _delete_queues(self) -> None:
        """Delete the demo's queues, because RabbitMQ may be shared; they have no consumers now."""
        reports = self._settings.report_queue
        own = [side.queue for side in self._sides.values()]
        async with connected(self._settings, "demo") as broker:
            for queue in (
                *own,
                *(topology.dead_letter_queue(queue).name for queue in own),
                reports,
                topology.refused_report_queue(reports).name,
                *(topology.tick_queue(topology.role(part, reports)).name for part in ("monitor", "scaler")),
            ):
                await broker.delete(queue)


def _ready(scaler: Scaler) -> set[str]:
    return {worker.app_id for worker in scaler.workers() if worker.phase == "ready"}


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
