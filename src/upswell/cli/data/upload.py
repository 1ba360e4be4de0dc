"""`upswell upload`: one upload in the foreground, without a broker, through the workers' handler."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from upswell.cli.connection import run
from upswell.cli.help import SettingsCommand
from upswell.cli.options import with_settings
from upswell.cli.progress import transfer
from upswell.cli.text import counted, seconds, size
from upswell.errors import StoreUnavailableError, TemporaryUploadError, UpswellError
from upswell.handlers.registry import load_handler
from upswell.messages import UploadRequest
from upswell.publisher.items import guess_type
from upswell.publisher.sources import local_path
from upswell.requests import PRIVATE
from upswell.safe import safe
from upswell.settings.checking import refuse_one_slash
from upswell.stores.addresses import file_uri
from upswell.worker.outcomes import backoff, frames_of, reason_of

if TYPE_CHECKING:
    from upswell.handlers import Handler, Stored
    from upswell.settings import Settings

APP = "upload"
"""The application's name in the request, seen only by the handler."""


@click.command("upload", cls=SettingsCommand)
@click.argument("source")
@click.argument("destination")
@click.option("--type", "kind", metavar="TYPE", help="Type of the source. Default: by file extension.")
@click.option("--checksum", metavar="SHA256", help="Expected checksum: sha256: and 64 hex digits.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
@with_settings("upload", quiet="error")
def command(
    source: str, destination: str, settings: Settings, *, as_json: bool, **options: str | None
) -> int:
    """Upload SOURCE, a file or URI, to DESTINATION, and print its checksum.

    DESTINATION is a folder or a URI such as s3://bucket/folder/, to which the source's name is added, or the
    full name of the object. Temporary failures are retried.
    """
    path = local_path(source)
    if path is not None and Path(path).is_dir():
        raise UpswellError(
            f"{source} is a directory; to upload all its files: upswell publish --app APP {source}"
        )
    top, key = split_destination(destination, source)
    request = _request(source, path, key, **options)
    allowed = replace(
        settings,
        destination=top,
        source_roots=["/"],  # the user may read what the system allows
        source_stores=["s3://", "gs://", "az://"],
        slots=1,
    )
    started = time.monotonic()
    try:
        with transfer(request.size_bytes) as on_bytes:
            handler = load_handler(allowed, on_bytes)
            stored, attempts = run(_upload(handler, request, allowed))
    finally:
        with suppress(OSError):  # missing, or in use by workers
            os.rmdir(os.path.join(top, PRIVATE))  # noqa: PTH106, PTH118 - a name may not be valid text
    where = f"{top.rstrip('/')}/{key}"
    if stored is not None and stored.key != key:  # a handler of one's own chose another
        where = stored.url or f"{top.rstrip('/')}/{stored.key}"
    _print(stored, where, time.monotonic() - started, attempts, as_json=as_json)
    return 0


def split_destination(destination: str, source: str) -> tuple[str, str]:
    """Return the store and the key, as `cp SOURCE DESTINATION` would choose them.

    >>> split_destination("s3://bucket/photos/", "holiday.jpg")
    ('s3://bucket/photos', 'holiday.jpg')
    >>> split_destination("s3://bucket/photos/beach.jpg", "holiday.jpg")
    ('s3://bucket/photos', 'beach.jpg')
    """
    refuse_one_slash(destination)
    name = (local_path(source) or source.partition("?")[0]).rstrip("/").rpartition("/")[2]
    scheme, mark, rest = destination.partition("://")
    is_folder = destination.endswith("/") or (mark and "/" not in rest)
    if not mark or scheme.lower() == "file":
        folder = Path(local_path(destination) or destination).expanduser()
        if is_folder or folder.is_dir():
            return str(folder), name
        return str(folder.parent), folder.name
    if is_folder:
        return destination.rstrip("/"), name
    top, _, key = destination.rpartition("/")
    return top, key


def _request(
    source: str, path: str | None, key: str, kind: str | None, checksum: str | None
) -> UploadRequest:
    fields: dict[str, object] = {
        "app_id": APP,
        "id": secrets.token_hex(8),
        "type": kind or guess_type(key),
        "uri": source if path is None else file_uri(os.path.realpath(path)),
        "key": key,
        "checksum": checksum,
    }
    if path is not None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a name may not be valid text
        except (OSError, ValueError) as error:  # the latter: a NUL in it
            reason = error.strerror if isinstance(error, OSError) else error
            raise UpswellError(f"cannot read {source}: {reason}") from error
        if stat.S_ISFIFO(status.st_mode):  # such as /dev/stdin
            raise UpswellError(f"a source must be a regular file, got a pipe: {source}")
        fields["size_bytes"] = status.st_size
    try:
        return msgspec.convert(
            {name: value for name, value in fields.items() if value is not None}, UploadRequest
        )
    except msgspec.ValidationError as error:
        raise UpswellError(f"invalid upload: {error}") from error


async def _upload(handler: Handler, request: UploadRequest, settings: Settings) -> tuple[Stored | None, int]:
    """Call the handler until it succeeds, as often as a worker would; return the number of attempts."""
    rng = random.Random()  # noqa: S311 - jitter is no secret
    for attempt in range(1, settings.delivery_limit + 1):
        try:
            async with asyncio.timeout(settings.upload_timeout):
                return await handler(request), attempt
        except Exception as error:  # whatever the user's own handler raises, a worker tries again
            if isinstance(error, UpswellError) and not isinstance(error, TemporaryUploadError):
                raise
            timed_out = isinstance(error, TimeoutError) and not str(error)
            limit = f"exceeded upload_timeout ({settings.upload_timeout:g} s)"
            reason = limit if timed_out else reason_of(error)
            for frame in () if timed_out else frames_of(error):
                click.echo(f"  {frame}", err=True)
            if attempt == settings.delivery_limit:
                raise UpswellError(f"{reason}; gave up after {counted(attempt, 'attempt')}") from error
            delay = backoff(attempt, settings.retry_backoff, rng)
            kind = "found the store unavailable" if isinstance(error, StoreUnavailableError) else "failed"
            click.echo(f"attempt {attempt} {kind}: {safe(reason)}; retrying in {seconds(delay)}", err=True)
            await asyncio.sleep(delay)
    raise AssertionError("delivery_limit is at least 1")


def _print(stored: Stored | None, where: str, took: float, attempts: int, *, as_json: bool) -> None:
    if as_json:
        figures = {"destination": where, "seconds": took, "attempts": attempts}
        told = {} if stored is None else msgspec.structs.asdict(stored)
        click.echo(msgspec.json.encode({**told, **figures}).decode())
    elif stored is None:
        click.echo(f"done in {seconds(took)} (the handler returned no result)")
    else:
        rate = size(stored.bytes / took) if took else "-"
        click.echo(f"{stored.checksum or 'no checksum'}  {safe(where)}")
        click.echo(f"{size(stored.bytes)} stored in {seconds(took)}, {rate}/s", err=True)
