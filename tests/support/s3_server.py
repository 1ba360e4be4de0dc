"""Three independent servers of S3 on loopback (SeaweedFS, moto, rclone), each with one key and one bucket.

SeaweedFS is a real object store that checks signatures; moto is what Python projects test against; rclone's
serves a folder. Their programs come from PyPI (the dependency group `servers`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.server_process import PortTakenError, free_port, program, running

if TYPE_CHECKING:
    from collections.abc import Generator

ACCESS_KEY = "AKUPSWELLTEST"
SECRET_KEY = "secret-of-the-tests-of-upswell"
BUCKET = "bucket"
READ_ONLY_KEY = "AKREADONLY"
"""A second access key, of SeaweedFS only, with the same secret; it may read and list."""

START_SECONDS = 100
"""SeaweedFS is four servers that wait for each other: three seconds, many times as long on a busy machine.

Below the time that a test has.
"""

PROGRAMS = {"seaweedfs": "weed", "moto": "moto_server", "rclone": "rclone"}


def missing(kind: str) -> str | None:
    """Return why a server cannot run on this machine, or None when it can."""
    name = PROGRAMS[kind]
    return None if program(name) else f"{name} is not installed (uv sync --group servers)"


@contextlib.contextmanager
def s3_server(kind: str, folder: Path) -> Generator[str]:
    """Run a server with its data below `folder`; yield its endpoint.

    Where a port was taken meanwhile, it is started once more.
    """
    with contextlib.ExitStack() as stack:
        try:
            endpoint = stack.enter_context(_started(kind, folder / "first"))
        except PortTakenError:
            endpoint = stack.enter_context(_started(kind, folder / "second"))
        yield endpoint


@contextlib.contextmanager
def _started(kind: str, folder: Path) -> Generator[str]:
    folder.mkdir(parents=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = {"seaweedfs": _seaweedfs, "moto": _moto, "rclone": _rclone}[kind](port, folder)
    try:
        with running(command, url=endpoint, log=folder / "server.log", timeout=START_SECONDS):
            _make_bucket(client(endpoint))
            yield endpoint
    finally:
        _remove_sockets(command)


def _remove_sockets(command: list[str]) -> None:
    """Remove the sockets that SeaweedFS leaves in /tmp, named by its ports."""
    ports = {argument.rpartition("=")[2] for argument in command if ".port" in argument}
    for path in Path("/tmp").glob("seaweedfs-*.sock"):
        if path.stem.rpartition("-")[2] in ports:
            path.unlink(missing_ok=True)


def _make_bucket(client: Any) -> None:
    """Make the bucket, and wait until it takes an object: SeaweedFS answers before its volumes are there."""
    client.create_bucket(Bucket=BUCKET)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.put_object(Bucket=BUCKET, Key="first", Body=b"first")
        except client.exceptions.ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            client.delete_object(Bucket=BUCKET, Key="first")
            return


def environment() -> dict[str, str]:
    """Return the variables that the vendors' tools take credentials from."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@functools.cache
def client(endpoint: str) -> Any:
    """Return botocore's client, which takes half a second to make: the tests' second opinion of a store."""
    import botocore.session  # noqa: PLC0415 - a second that only these tests need
    from botocore.config import Config  # noqa: PLC0415 - as above

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )


def unfinished(endpoint: str) -> list[str]:
    """Return the keys of multipart uploads that are neither completed nor aborted."""
    asking = client(endpoint)
    try:
        answer = asking.list_multipart_uploads(Bucket=BUCKET)
    except asking.exceptions.NoSuchUpload:  # rclone's answer where there was never any
        return []
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def _seaweedfs(port: int, folder: Path) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    read_only = {
        "name": "reader",
        "credentials": [{"accessKey": READ_ONLY_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Read", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity, read_only]}))
    (folder / "data").mkdir(exist_ok=True)
    ports = {name: free_port() for name in ("master", "volume", "filer")}
    grpc = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    return [
        str(program("weed")), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.port={port}", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-master.volumePreallocate=false",
        *(f"-{name}.port={number}" for name, number in ports.items()),
        *(f"-{name}.port.grpc={number}" for name, number in grpc.items()),
    ]  # fmt: skip


def _moto(port: int, _folder: Path) -> list[str]:
    return [str(program("moto_server")), "-H", "127.0.0.1", "-p", str(port)]


def _rclone(port: int, folder: Path) -> list[str]:
    (folder / "data").mkdir(exist_ok=True)
    return [
        str(program("rclone")), "serve", "s3", str(folder / "data"), f"--addr=127.0.0.1:{port}",
        f"--auth-key={ACCESS_KEY},{SECRET_KEY}", f"--config={folder / 'rclone.conf'}", "--vfs-cache-mode=off",
    ]  # fmt: skip
