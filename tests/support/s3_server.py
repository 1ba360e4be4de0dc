"""Three independent servers of S3 on loopback (SeaweedFS, moto, rclone), each with one key and one bucket.

SeaweedFS is a real object store that checks signatures; moto is what Python projects test against; rclone's
serves a folder. Their programs come from PyPI (the dependency group `servers`).
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from support.server_process import free_ports, program, running

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

ACCESS_KEY = "AKUPSWELLTEST"
SECRET_KEY = "secret-of-the-tests-of-upswell"
BUCKET = "bucket"

PROGRAMS = {"seaweedfs": "weed", "moto": "moto_server", "rclone": "rclone"}


def missing(kind: str) -> str | None:
    """Return why a server cannot run on this machine, or None when it can."""
    name = PROGRAMS[kind]
    return None if program(name) else f"{name} is not installed (uv sync --group servers)"


@contextlib.contextmanager
def s3_server(kind: str, folder: Path) -> Generator[str]:
    """Run a server with its data below `folder`; yield its endpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    port, *more = free_ports(8)
    endpoint = f"http://127.0.0.1:{port}"
    command = {"seaweedfs": _seaweedfs, "moto": _moto, "rclone": _rclone}[kind](port, more, folder)
    with running(command, url=endpoint, log=folder / "server.log"):
        client(endpoint).create_bucket(Bucket=BUCKET)
        yield endpoint


def environment() -> dict[str, str]:
    """Return the variables that the vendors' tools take credentials from."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(endpoint: str) -> Any:
    """Return botocore's client: the tests' second opinion of what is in a store."""
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
    answer = client(endpoint).list_multipart_uploads(Bucket=BUCKET)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def _seaweedfs(port: int, more: list[int], folder: Path) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    ports = dict(zip(("master", "volume", "filer"), more[:3], strict=True))
    grpc = dict(zip(("master", "volume", "filer", "s3"), more[3:], strict=True))
    return [
        str(program("weed")), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.port={port}", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-master.volumePreallocate=false",
        *(f"-{name}.port={number}" for name, number in ports.items()),
        *(f"-{name}.port.grpc={number}" for name, number in grpc.items()),
    ]  # fmt: skip


def _moto(port: int, _more: list[int], _folder: Path) -> list[str]:
    return [str(program("moto_server")), "-H", "127.0.0.1", "-p", str(port)]


def _rclone(port: int, _more: list[int], folder: Path) -> list[str]:
    (folder / "data").mkdir(exist_ok=True)
    return [
        str(program("rclone")), "serve", "s3", str(folder / "data"), f"--addr=127.0.0.1:{port}",
        f"--auth-key={ACCESS_KEY},{SECRET_KEY}", f"--config={folder / 'rclone.conf'}", "--vfs-cache-mode=off",
    ]  # fmt: skip
