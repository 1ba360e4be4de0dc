"""`upswell find ID|KEY|URI`: where one upload is: queued, running, stored, dead, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from upswell.cli.connection import PATIENCE_SECONDS, connected, run
from upswell.cli.journals import journal_path
from upswell.cli.options import app_option, with_settings
from upswell.cli.safe_json import safe_json
from upswell.cli.text import counted, moment, rough, size, wrapped
from upswell.client.roster import describe_uploads
from upswell.errors import JournalError, UpswellError
from upswell.journal import JournalReader
from upswell.publisher.search import Search, Sighting, Sought
from upswell.publisher.stored_record import record_path
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.client.roster import Roster
    from upswell.settings import Settings

FAILURES_AT_MOST = 10
_WORDS = {"lost": "was stored, and is not there any more", "failed": "failed attempt"}
_STYLES = {"dead": "red", "lost": "red", "failed": "yellow", "stored": "green"}


@click.command("find")
@click.argument("wanted", metavar="ID|KEY|URI")
@app_option(multiple=True, help="Look only for uploads of this application (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("find", quiet="warning")
def command(wanted: str, app: tuple[str, ...], settings: Settings, as_json: bool) -> int:
    """Find an upload: queued, running, stored or dead; exit 1 if it is nowhere.

    ID is the request's, KEY the object's name in the destination, URI the source: file:///data/cat.jpg,
    https://... or the path of a file on this machine. Looking changes nothing.
    """
    apps = app or tuple(settings.apps) or tuple(JournalReader(journal_path(settings)).applications())
    if not apps:
        raise UpswellError("name the application with --app, or set UPSWELL_APPS: none is in the settings")
    searches = [Search(Sought(wanted, name), settings.for_app(name)) for name in apps]
    found = run(_find(settings, searches))
    notes = [
        f"{search.sought.app_id}: {note}" if len(searches) > 1 else note
        for search in searches
        for note in search.notes
    ]
    if as_json:
        told = {"at": time.time(), "found": found, "notes": notes}
        click.echo(safe_json(told))
        return 0 if found else 1
    now = time.time()
    for sighting in found:
        for line in lines(sighting, now):
            click.echo(line)
    if not found:
        click.echo(wrapped(f"no upload {safe(wanted)} was found for {', '.join(apps)}"))
    for note in notes:
        click.echo(wrapped(f"note: {safe(note)}"), err=True)
    return 0 if found else 1


async def _find(settings: Settings, searches: list[Search]) -> list[Sighting]:
    """Return all sightings: those of the queues first, which teach the names to ask the others for."""
    reader, record = JournalReader(journal_path(settings)), record_path(settings)
    for search in searches:
        await search.learn(record)
    found: list[Sighting] = []
    async with connected(settings, "find", patience=PATIENCE_SECONDS) as broker:
        roster = await describe_uploads(broker, settings.status_interval)
        for search in searches:
            found += await search.queue(broker)
            found += await search.dead_letters(broker)
            found += _in_hand(search, roster)
    for search in searches:
        found += await search.destination(record)
        found += search.sent(found)
        found += _failed(search, reader)
    return found


def _in_hand(search: Search, roster: Roster) -> Iterator[Sighting]:
    sought, now = search.sought, time.time()
    silent = 0
    for worker in roster.workers(time.monotonic()):
        uploads = roster.uploads(worker.worker_id) if worker.app_id == sought.app_id else ()
        silent += uploads is None and worker.busy > 0
        for upload in uploads or ():
            if sought.matches(upload.request_id, upload.key):
                yield Sighting(
                    app_id=sought.app_id,
                    state="running",
                    request_id=upload.request_id,
                    key=upload.key,
                    since=now - upload.seconds,
                    attempt=upload.attempt,
                    worker_id=worker.worker_id,
                    bytes=upload.bytes,
                    size_bytes=upload.size_bytes,
                    waits=upload.waits,
                )
    if silent:
        search.sees_all = False
        search.notes.append(f"{counted(silent, 'worker')} did not say what they have in hand")


def _failed(search: Search, reader: JournalReader) -> Iterator[Sighting]:
    try:
        for request_id in sorted(search.sought.ids):
            for row in reader.failures(search.sought.app_id, request_id, FAILURES_AT_MOST):
                if row.outcome == "failed":
                    yield Sighting(
                        app_id=row.app_id,
                        state="failed",
                        request_id=row.request_id,
                        since=row.at,
                        attempt=row.attempt,
                        worker_id=row.worker_id,
                        reason=row.reason,
                    )
    except JournalError as error:
        search.notes.append(str(error))


def lines(sighting: Sighting, now: float) -> Iterator[str]:
    """Yield a sighting as lines: where and since when, then the names."""
    state = click.style(_WORDS.get(sighting.state, sighting.state), fg=_STYLES.get(sighting.state), bold=True)
    parts = [part for part in (_place(sighting), _since(sighting, now), *_progress(sighting)) if part]
    if sighting.by_record:
        parts.append("as the record of this machine says")
    elif sighting.state == "sent":
        parts.append("and was seen nowhere since")
    yield f"{sighting.app_id}: {state}{' ' if parts else ''}{', '.join(parts)}"
    named = {
        "why": sighting.reason,
        "at": sighting.address,
        "sha256": (sighting.checksum or "").removeprefix("sha256:"),
        "id": sighting.request_id,
        "key": sighting.key,
        "uri": sighting.uri,
    }
    for name, value in named.items():
        if value:
            yield wrapped(f"  {name:6}  {safe(value)}")


def _place(sighting: Sighting) -> str:
    if sighting.worker_id:
        return f"on {safe(sighting.worker_id)}"
    return f"at position {sighting.position:,}" if sighting.position else ""


def _since(sighting: Sighting, now: float) -> str:
    if sighting.since is None:
        return ""
    age = rough(max(0.0, now - sighting.since))
    if sighting.state in ("running", "queued"):
        return f"since {moment(sighting.since)} ({age})"
    return f"{moment(sighting.since)} ({age} ago)"


def _progress(sighting: Sighting) -> Iterator[str]:
    if sighting.attempt is not None:
        yield f"attempt {sighting.attempt}"
    if sighting.state == "running":
        moved = size(sighting.bytes or 0)
        yield f"{moved} of {size(sighting.size_bytes)}" if sighting.size_bytes else moved
        if sighting.waits:
            yield "waits"
    elif sighting.bytes is not None:
        yield size(sighting.bytes)
