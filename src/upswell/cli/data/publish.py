"""`upswell publish`: files, directories, stores and lists to an upload queue, and the results."""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from shutil import copyfileobj
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from upswell.broker.heartbeat import HeardParts
from upswell.cli.connection import connected, run, unique_name
from upswell.cli.data.publish_summary import print_notes, print_summary, tally_lines
from upswell.cli.help import SettingsCommand
from upswell.cli.journals import journal_path, open_journal
from upswell.cli.options import app_option, finite, load_settings, with_settings
from upswell.errors import JournalError, UpswellError
from upswell.publisher.already_stored import AlreadyStored
from upswell.publisher.publishing import Publishing, PublishJob
from upswell.publisher.readable import check_readable
from upswell.publisher.sources import Sources, What, is_list, is_stream
from upswell.publisher.stored_record import StoredRecord, record_path
from upswell.registry import nearest
from upswell.requests import key_of
from upswell.safe import safe
from upswell.settings.overlaps import overlapping_destinations
from upswell.stores.addresses import Addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from upswell.broker import Broker
    from upswell.settings import Settings

MOST_APPS = 10
"""Known applications that are named."""

INTERRUPTED = 128 + signal.SIGINT
"""The exit status by convention after Ctrl-C."""


@click.command("publish", cls=SettingsCommand)
@app_option()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--requests",
    multiple=True,
    metavar="FILE",
    help="List of requests, URIs or paths, one a line, whatever its name; - for standard input (repeatable).",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Publish only matching files, as in .gitignore (repeatable).",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Skip matching files and folders, as in .gitignore (repeatable).",
)
@click.option("--follow-links", is_flag=True, help="Follow symbolic links. Default: skip them.")
@click.option("--prefix", default="", metavar="TEXT", help="Prefix of each key, for example photos/.")
@click.option("--type", "kind", metavar="TYPE", help="Type of all files. Default: by file extension.")
@click.option("-0", "--null", is_flag=True, help="Standard input is separated by NUL, as from find -print0.")
@click.option("-n", "--dry-run", is_flag=True, help="List what would be sent without sending it.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Requests per second. Default: no limit.",
)
@click.option(
    "--repeat", type=click.IntRange(min=1), default=1, help="Publish the request files this many times."
)
@click.option(
    "--wait", is_flag=True, help="Wait until all are stored or dead-lettered; exit 1 if any is dead."
)
@click.option("--verify", is_flag=True, help="Wait, then compare each source with the stored object.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=finite,
    help="Stop waiting after this many seconds and exit 1.",
)
@click.option("--fresh", is_flag=True, help="Use new ids: upload again what was published before.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line.")
@with_settings("publish", quiet="warning")
def command(
    app: str, sources: tuple[str, ...], requests: tuple[str, ...], settings: Settings, **options: Any
) -> int:
    """Publish an upload request for each file, each file in a folder, or each object in a bucket.

    SOURCE is a file, a folder or a URI (s3://bucket/prefix/). A SOURCE that ends in .jsonl or .ndjson is a
    list, and so is - (standard input, the default) or a pipe: each line is a request {"type", "uri"} in JSON,
    a URI or a path. Files that are already stored are skipped, so after an interruption just run the command
    again.
    """
    arguments = tuple(source for source in sources if not is_list(source))
    lists = (*(source for source in sources if is_list(source)), *requests)
    if not arguments and not lists:
        lists = ("-",)
    if "-" in lists and sys.stdin.isatty():
        click.echo(
            "reading from the terminal: a path, a URI or a JSON request on each line; Ctrl-D ends", err=True
        )
    with _readable_twice(lists, again=options["repeat"] > 1) as (lists, descriptor):
        what = What(
            app_id=app,
            arguments=arguments,
            requests=lists,
            descriptor=descriptor,
            separator=b"\0" if options.pop("null") else b"\n",
            salt=secrets.token_hex(8) if options["fresh"] else "",
            **{
                name: options.pop(name)
                for name in ("include", "exclude", "follow_links", "prefix", "kind", "repeat")
            },
        )
        queue = settings.upload_queue_of(app)
        dry_run, as_json = options.pop("dry_run"), options.pop("as_json")
        job = PublishJob(what=what, queue=queue, total=Sources(what, lambda _note: None).count(), **options)
        everything, _ = load_settings(click.get_current_context().params.get("config"), {})
        for overlap in overlapping_destinations(everything):
            if app in {overlap.outer, overlap.inner}:
                click.echo(f"warning: {overlap}", err=True)
        known_apps = {*everything.apps, *_recorded_apps(settings)}
        return run(_publish(settings.for_app(app), job, known_apps, dry_run=dry_run, as_json=as_json))


@contextmanager
def _readable_twice(lists: tuple[str, ...], *, again: bool) -> Generator[tuple[tuple[str, ...], int]]:
    """Yield the lists and the descriptor of standard input; a stream to be repeated is copied first."""
    with tempfile.NamedTemporaryFile(prefix="upswell-publish-") as copy:
        if not again:
            yield lists, sys.stdin.fileno() if "-" in lists else -1
            return
        streams = [one for one in lists if one == "-" or is_stream(one)]
        for stream in streams[:1]:
            with open(0 if stream == "-" else stream, "rb", closefd=stream != "-") as file:
                copyfileobj(file, copy)
        copy.flush()
        yield tuple(copy.name if one in streams[:1] else one for one in lists), -1


async def _publish(
    settings: Settings, job: PublishJob, known_apps: Collection[str], *, dry_run: bool, as_json: bool
) -> int:
    if job.verify and settings.handler != "upload":
        raise UpswellError(
            "--verify needs the handler upload, which stores the same bytes as the source, "
            f"got {settings.handler}"
        )
    record = StoredRecord(record_path(settings), job.what.app_id)
    with record, AlreadyStored(settings, record) as known:
        _warn(settings, job, known)
        publishing = Publishing(settings, job, known, record)
        tally = publishing.tally
        if dry_run:
            await _list(publishing, as_json=as_json)
            return 1 if tally.failed else 0
        async with connected(settings, "publish") as broker:
            if not await publishing.prepare(broker):
                await _tell_nobody_consumes(broker, settings, job, known_apps)
            with _showing(publishing) as show:
                outcome = await publishing.run(broker, unique_name("publish"), show)
        if job.verify and outcome.end == "complete":
            outcome = replace(outcome, verified=await publishing.verify())
    print_notes(tally)
    if record.error:
        click.echo(f"{safe(record.error)}; the next publish asks the destination instead", err=True)
    destination = Addresses(settings.destination).of("") if known.asks_destination else None
    print_summary(job.queue, tally, outcome, destination=destination, as_json=as_json)
    if outcome.end == "interrupted":
        click.echo("interrupted: run the same command again to upload the rest", err=True)
        return INTERRUPTED
    return 1 if tally.failed or outcome.failed else 0


@contextmanager
def _showing(publishing: Publishing) -> Generator[Callable[[float], None]]:
    job = publishing.job
    if not (job.wait or job.verify):
        yield lambda _now: None
        return
    from upswell.cli.data.publish_progress import Progress, shown  # noqa: PLC0415 - it needs rich

    def unconsumed() -> str:
        depth = publishing.unanswered.depth if publishing.unanswered else None
        return job.queue if depth is not None and depth.consumers == 0 and depth.messages_ready > 0 else ""

    with shown(Progress(publishing.replies, publishing.tally, job.total, unconsumed)) as show:
        yield show


async def _tell_nobody_consumes(
    broker: Broker, settings: Settings, job: PublishJob, known_apps: Collection[str]
) -> None:
    """Say that nobody takes these uploads: the application's name is wrong, or no worker runs."""
    app = job.what.app_id
    if known_apps and app not in known_apps:
        apps = ", ".join(sorted(known_apps)[:MOST_APPS])
        why = f"{app} is not a known application ({apps}){nearest(app, known_apps)}"
    elif await _has_scaler(broker, settings):
        why = 'a scaler runs, which starts workers when they are needed ("upswell status" shows them)'
    else:
        why = f'start "upswell up --app {app}" or "upswell worker --app {app}"'
    click.echo(f"nobody consumes {job.queue}: {why}", err=True)
    if job.wait or job.verify:
        click.echo("waiting until somebody does; after Ctrl-C the uploads stay queued", err=True)


async def _has_scaler(broker: Broker, settings: Settings) -> bool:
    heard = HeardParts(settings.report_queue)
    await heard.listen(broker, unique_name("publish"))
    await heard.wait("scaler")
    return heard.newest("scaler", time.monotonic()) is not None


def _recorded_apps(settings: Settings) -> list[str]:
    """Return the applications of this machine's journal."""
    with suppress(JournalError):
        return open_journal(str(journal_path(settings))).applications()
    return []


async def _list(publishing: Publishing, *, as_json: bool) -> None:
    """Print what would be sent: size, key and source, or one JSON line each."""
    async for request in publishing.pending():
        if as_json:
            click.echo(msgspec.json.encode(request).decode())
        else:
            length = "?" if request.size_bytes is None else f"{request.size_bytes:,}"
            click.echo(f"{length:>15}  {safe(key_of(request))}  {safe(request.uri)}")
    print_notes(publishing.tally)
    for line in tally_lines(publishing.tally, sent="to send"):
        click.echo(line, err=True)


def _warn(settings: Settings, job: PublishJob, known: AlreadyStored) -> None:
    """Warn of an unreadable destination, and of sources that workers may not read."""
    if known.destination_error:
        click.echo(
            f"cannot list the destination, using this machine's record of stored files: "
            f"{safe(known.destination_error)}",
            err=True,
        )
    for warning in check_readable(settings, job.what.arguments):
        click.echo(f"warning: {warning}", err=True)
