"""`upswell publish`: requests from a file or standard input to an upload queue, and what became of them."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.broker.topology import dead_letter_queue, reply_queue, upload_queue, upload_queue_name
from upswell.cli.connection import connected, run, unique_name
from upswell.cli.options import app_option, finite, with_settings
from upswell.cli.replies import Replies
from upswell.cli.text import seconds
from upswell.errors import UpswellError
from upswell.publisher import Publisher, each, read_requests, stream_requests
from upswell.workload.arrivals import constant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upswell.broker import Broker
    from upswell.messages import UploadRequest
    from upswell.settings import Settings


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; `path` can be read again; where it is None, `descriptor` is a stream."""

    app: str
    queue: str
    path: Path | None
    descriptor: int
    total: int | None
    rate: float | None
    repeat: int
    salt: str
    wait: bool
    timeout: float | None
    as_json: bool


@click.command("publish")
@app_option()
@click.argument("file", default="-")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Requests per second; default: at once.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Publish the whole file so many times.")
@click.option(
    "--wait", is_flag=True, help="Wait until each is stored or dead-lettered; exit 1 if any is dead."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=finite,
    help="Wait so many seconds at most, then exit 1.",
)
@click.option("--fresh", is_flag=True, help="Make new ids: upload again what was published before.")
@click.option("--upload-queue", metavar="NAME", help="Queue to publish to; default: {app}_upload.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line.")
@with_settings(quiet="warning")
def command(
    app: str, file: str, settings: Settings, upload_queue: str | None, fresh: bool, **options: Any
) -> int:
    """Publish the upload requests of FILE: a JSON list of {"type", "uri"}, or JSON lines (- reads stdin).

    Every request gets an id made from its place and content, so that publishing a file again, after a crash
    half way, uploads nothing twice.
    """
    descriptor = sys.stdin.fileno() if file == "-" else _open(file)
    with tempfile.NamedTemporaryFile(prefix="upswell-publish-") as copy:
        path = Path(file) if stat.S_ISREG(os.fstat(descriptor).st_mode) and file != "-" else None
        if path is None and options["repeat"] > 1:  # a stream can be read once: a copy of it is repeated
            with open(descriptor, "rb", closefd=False) as stream:
                copyfileobj(stream, copy)
            copy.flush()
            path = Path(copy.name)
        # Nothing is published from a file with a mistake in it.
        total = None if path is None else sum(1 for _ in read_requests(path, app_id=app)) * options["repeat"]
        job = Job(
            app=app,
            queue=upload_queue or upload_queue_name(app),
            path=path,
            descriptor=descriptor,
            total=total,
            salt=secrets.token_hex(8) if fresh else "",
            **options,
        )
        return run(_publish(settings.for_app(app), job))


def _open(file: str) -> int:
    try:
        return os.open(file, os.O_RDONLY)
    except (OSError, ValueError) as error:  # the latter: a name with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise UpswellError(f"the request file must be readable: {file}: {reason}") from error


async def _publish(settings: Settings, job: Job) -> int:
    async with connected(settings, "publish") as broker:
        await broker.declare(dead_letter_queue(job.queue))
        await broker.declare(upload_queue(job.queue, delivery_limit=settings.delivery_limit))
        replies = Replies()
        reply_to = await _listen(broker, replies) if job.wait else None
        publisher = Publisher(broker=broker, upload_queue=job.queue, reply_to=reply_to)
        if not job.wait:
            await _send(publisher, job, replies)
            _summarise(job, {"published": publisher.published})
            return 0
        from upswell.cli.publish_wait import publish_and_wait  # noqa: PLC0415 - it needs rich

        sending = _send(publisher, job, replies)
        complete = await publish_and_wait(
            broker, job.queue, replies, sending, total=job.total, timeout=job.timeout
        )
        p50, p95 = replies.percentiles()
        _summarise(
            job,
            {
                "published": publisher.published,
                "stored": replies.stored,
                "failed_attempts": replies.failed_attempts,
                "dead": replies.dead,
                "outstanding": len(replies.outstanding),
                "p50_response_time": p50,
                "p95_response_time": p95,
            },
        )
        return 1 if replies.dead or not complete else 0


async def _listen(broker: Broker, replies: Replies) -> str:
    queue = reply_queue(unique_name("publish"))
    await broker.declare(queue)

    def on_delivery(delivery: Any) -> None:
        replies.take(delivery)
        broker.ack(delivery)

    await broker.consume(queue.name, on_delivery, prefetch_count=1000)
    return queue.name


async def _send(publisher: Publisher, job: Job, replies: Replies) -> None:
    try:
        await publisher.publish_all(
            _requests(job, replies), pace=None if job.rate is None else constant(job.rate)
        )
    except UpswellError as error:
        await publisher.settle()
        raise type(error)(f"{error}; {publisher.published} requests were published") from error


async def _requests(job: Job, replies: Replies) -> AsyncIterator[UploadRequest]:
    if job.path is not None:
        source = each(read_requests(job.path, app_id=job.app, repeat=job.repeat, salt=job.salt))
    else:
        source = stream_requests(job.descriptor, app_id=job.app, salt=job.salt)
    async for request in source:
        if job.wait and request.id:
            replies.expect(request.id)
        yield request


def _summarise(job: Job, figures: dict[str, float | None]) -> None:
    if job.as_json:
        click.echo(msgspec.json.encode(figures).decode())
        return
    words = [f"published {figures['published']} to {job.queue}"]
    if job.wait:
        words += [
            f"{name.replace('_', ' ')} {figures[name]}" for name in ("stored", "dead", "failed_attempts")
        ]
        words += [f"outstanding {figures['outstanding']}"] if figures["outstanding"] else []
        words += [f"{name} {seconds(figures[f'{name}_response_time'])}" for name in ("p50", "p95")]
    click.echo(", ".join(words))
