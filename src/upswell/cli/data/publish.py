"""`upswell publish`: directories, stores, lists and requests to an upload queue, and what became of it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import stat
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from upswell.broker.topology import dead_letter_queue, reply_queue, upload_queue
from upswell.cli.connection import connected, run, unique_name
from upswell.cli.data.publish_summary import End, Outcome, Verified, print_summary
from upswell.cli.data.publish_tally import Tally
from upswell.cli.options import app_option, finite, with_settings
from upswell.errors import UpswellError
from upswell.publisher import Publisher
from upswell.publisher.known import Known
from upswell.publisher.objects import list_objects
from upswell.publisher.record import Record
from upswell.publisher.replies import MOST_OUTSTANDING, Replies
from upswell.publisher.sources import Sources, What, local_path
from upswell.requests import key_of
from upswell.safe import safe
from upswell.workload.arrivals import constant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Generator

    from upswell.broker import Broker
    from upswell.messages import UploadReport, UploadRequest
    from upswell.settings import Settings

COMMIT_SECONDS = 1.0
"""What workers told is written down so often; a kill loses no more."""

VERIFY_BATCH = 200

INTERRUPTED = 128 + signal.SIGINT
"""The exit status that shells give a command that Ctrl-C ended."""

_LOOKS = ("include", "exclude", "follow_links", "prefix", "kind", "repeat")
"""Options that say how to look at the arguments."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; `total` is known where only request files are published."""

    what: What
    queue: str
    total: int | None
    rate: float | None
    fresh: bool
    wait: bool
    verify: bool
    dry_run: bool
    timeout: float | None
    as_json: bool


@click.command("publish")
@app_option()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only files that match, as in .gitignore.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files or folders that match, likewise.")
@click.option("--follow-links", is_flag=True, help="Follow symbolic links; default: pass them over.")
@click.option("--prefix", default="", metavar="TEXT", help="Put before each key, for example photos/.")
@click.option("--type", "kind", metavar="TYPE", help="Type of all files; default: by their names' endings.")
@click.option("-0", "--null", is_flag=True, help="Lines on standard input end with NUL, as of find -print0.")
@click.option("-n", "--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Requests per second; default: at once.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Publish request files so many times.")
@click.option(
    "--wait", is_flag=True, help="Wait until each is stored or dead-lettered; exit 1 if any is dead."
)
@click.option("--verify", is_flag=True, help="Wait, then compare each source with what is stored.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=finite,
    help="Wait so many seconds at most, then exit 1.",
)
@click.option("--fresh", is_flag=True, help="Make new ids: upload again what was published before.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line.")
@with_settings("publish", quiet="warning")
def command(app: str, sources: tuple[str, ...], settings: Settings, **options: Any) -> int:
    """Publish upload requests: of each file below a directory, or each object below s3://bucket/prefix/.

    SOURCE may also be a URI, or a file with a JSON list or lines, each a request {"type", "uri"}, a URI or a
    path; - is standard input, and the default. A file that is stored already is skipped, so that an
    interrupted command is just run again.
    """
    sources = sources or ("-",)
    with _readable_twice(sources, again=options["repeat"] > 1) as (arguments, descriptor):
        what = What(
            app_id=app,
            arguments=arguments,
            descriptor=descriptor,
            separator=b"\0" if options.pop("null") else b"\n",
            salt=secrets.token_hex(8) if options["fresh"] else "",
            **{
                name: options.pop(name)
                for name in ("include", "exclude", "follow_links", "prefix", "kind", "repeat")
            },
        )
        queue = settings.upload_queue_of(app)
        job = Job(what=what, queue=queue, total=Sources(what, lambda _note: None).count(), **options)
        return run(_publish(settings.for_app(app), job))


@contextmanager
def _readable_twice(sources: tuple[str, ...], *, again: bool) -> Generator[tuple[tuple[str, ...], int]]:
    """Give the arguments and the descriptor of standard input; a stream to repeat is copied first."""
    with tempfile.NamedTemporaryFile(prefix="upswell-publish-") as copy:
        if not again:
            yield sources, sys.stdin.fileno() if "-" in sources else -1
            return
        streams = [one for one in sources if one == "-" or _is_stream(one)]
        for stream in streams[:1]:
            with open(0 if stream == "-" else stream, "rb", closefd=stream != "-") as file:
                copyfileobj(file, copy)
        copy.flush()
        yield tuple(copy.name if one in streams[:1] else one for one in sources), -1


def _is_stream(argument: str) -> bool:
    try:
        mode = Path(argument).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


async def _publish(settings: Settings, job: Job) -> int:
    if job.verify and settings.handler != "upload":
        raise UpswellError(
            "--verify compares objects with their sources, so the handler must be upload, which stores the "
            f"same bytes, got {settings.handler}"
        )
    tally = Tally(keep=job.verify)
    record = Record(settings.state_path / "stored.sqlite", job.what.app_id)
    with record, Known(settings, record) as known:
        _warn(settings, job, known)
        sources = Sources(job.what, tally.note, partial(list_objects, settings))
        if job.dry_run:
            await _list(sources, known, tally, job)
            return 1 if tally.failed else 0
        outcome = await _send_all(settings, job, _pending(sources, known, tally, job), tally, record)
        if job.verify and outcome.end == "complete":
            outcome = replace(outcome, verified=await _verify(known, tally))
    tally.warn()
    print_summary(job.queue, tally, outcome, as_json=job.as_json)
    if outcome.end == "interrupted":
        click.echo("interrupted: run the same command again, and it sends what is not stored yet", err=True)
        return INTERRUPTED
    return 1 if tally.failed or outcome.failed else 0


async def _send_all(
    settings: Settings, job: Job, requests: AsyncIterator[UploadRequest], tally: Tally, record: Record
) -> Outcome:
    """Publish, and wait where asked to; return what became of it."""
    started = time.monotonic()
    async with connected(settings, "publish") as broker:
        await broker.declare(dead_letter_queue(job.queue))
        await broker.declare(upload_queue(job.queue, delivery_limit=settings.delivery_limit))
        if not (job.wait or job.verify):
            publisher = Publisher(broker=broker, upload_queue=job.queue)
            end = await _to_the_end(_send(publisher, requests, job))
            return Outcome(published=publisher.published, seconds=time.monotonic() - started, end=end)
        from upswell.cli.data.publish_wait import publish_and_wait  # noqa: PLC0415 - it needs rich

        memory = _Memory(record)
        replies = Replies(on_stored=memory.take)
        publisher = Publisher(broker=broker, upload_queue=job.queue, reply_to=await _listen(broker, replies))
        end = await _to_the_end(
            publish_and_wait(
                broker,
                job.queue,
                replies,
                _send(publisher, _expected(requests, replies), job),
                tally=tally,
                total=job.total,
                timeout=job.timeout,
                each_round=memory.commit,
            )
        )
        seconds = time.monotonic() - started
        return Outcome(published=publisher.published, replies=replies, end=end, seconds=seconds)


async def _to_the_end(work: Coroutine[Any, Any, bool | None]) -> End:
    """Return how work ended; interrupted by Ctrl-C or SIGTERM, there is a summary all the same."""
    try:
        return "incomplete" if await work is False else "complete"
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        return "interrupted"


class _Memory:
    """Writes down what workers tell, a batch at a time."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._committed_at = time.monotonic()

    def take(self, report: UploadReport) -> None:
        """Take a report of a stored upload."""
        if report.request_id:
            self._record.add(report.request_id, report.bytes, report.checksum)

    def commit(self) -> None:
        """Write it to the disk, not too often."""
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self._record.commit()
            self._committed_at = time.monotonic()


async def _listen(broker: Broker, replies: Replies) -> str:
    queue = reply_queue(unique_name("publish"))
    await broker.declare(queue)

    def on_delivery(delivery: Any) -> None:
        replies.take(delivery)
        broker.ack(delivery)

    await broker.consume(queue.name, on_delivery, prefetch_count=1000)
    return queue.name


async def _send(publisher: Publisher, requests: AsyncIterator[UploadRequest], job: Job) -> None:
    try:
        await publisher.publish_all(requests, pace=None if job.rate is None else constant(job.rate))
    except UpswellError as error:
        await publisher.settle()
        raise type(error)(f"{error}; {publisher.published} requests were published") from error


async def _pending(sources: Sources, known: Known, tally: Tally, job: Job) -> AsyncIterator[UploadRequest]:
    """Yield what is not stored yet."""
    async for found in sources.batches():
        things = await known.look(found)
        batch = [sources.seen(one, thing) for one, thing in zip(found, things, strict=True)]
        stored = [False] * len(batch) if job.fresh else await known.are_stored(batch)
        for candidate, is_stored in zip(batch, stored, strict=True):
            tally.take(candidate, stored=is_stored)
            if not is_stored:
                yield candidate.request
    tally.complete = True


async def _expected(requests: AsyncIterator[UploadRequest], replies: Replies) -> AsyncIterator[UploadRequest]:
    """Yield the requests, each expected to be answered; wait while too many are not."""
    async for request in requests:
        while len(replies.outstanding) >= MOST_OUTSTANDING:  # noqa: ASYNC110 - replies set no event
            await asyncio.sleep(COMMIT_SECONDS / 10)
        if request.id:
            replies.expect(request.id, name=request.key or request.uri, size=request.size_bytes)
        yield request


async def _list(sources: Sources, known: Known, tally: Tally, job: Job) -> None:
    """Print what would be sent: its size, key and source; a JSON line for each where asked."""
    async for request in _pending(sources, known, tally, job):
        if job.as_json:
            click.echo(msgspec.json.encode(request).decode())
        else:
            length = "?" if request.size_bytes is None else f"{request.size_bytes:,}"
            click.echo(f"{length:>15}  {safe(key_of(request))}  {safe(request.uri)}")
    tally.warn()
    for line in tally.lines(sent="to send"):
        click.echo(line, err=True)


async def _verify(known: Known, tally: Tally) -> Verified:
    """Compare everything that was found, in batches."""
    verified = Verified(by="destination" if known.asks_destination else "workers' reports")
    requests = tally.kept()
    while batch := list(islice(requests, VERIFY_BATCH)):
        verified.take(len(batch), await known.verify(batch))
    return verified


def _warn(settings: Settings, job: Job, known: Known) -> None:
    """Say at the start what would make every upload fail, or what cannot be looked at."""
    if known.destination_error:
        click.echo(f"what is stored goes by this machine's record: {safe(known.destination_error)}", err=True)
    if settings.handler != "upload":
        return
    roots = [Path(root).expanduser().resolve() for root in settings.source_roots]
    for argument in job.what.arguments:
        path = local_path(argument)
        if path is None:
            allowed = argument.startswith(tuple(settings.source_stores)) or not argument.startswith(
                ("s3:", "gs:", "az:")
            )
            setting, named = "source_stores", ", ".join(settings.source_stores)
        else:
            is_folder = argument != "-" and Path(path).is_dir()
            allowed = not is_folder or any(Path(path).resolve().is_relative_to(root) for root in roots)
            setting, named = "source_roots", ", ".join(map(str, roots))
        if not allowed:
            click.echo(
                f"workers read only what lies below their {setting}, here {named or 'empty'}: "
                f"{safe(argument)} does not",
                err=True,
            )
