"""A server of Azure Blob Storage on loopback: Azurite, with its well-known account and one container.

It comes from npm; scripts/install_servers puts it into .servers/.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import shutil
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from support.server_process import free_port, running

if TYPE_CHECKING:
    from collections.abc import Generator

CONTAINER = "bucket"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every Azurite in the world has: it protects nothing."""

_PROGRAM = Path(__file__).parents[2] / ".servers/node_modules/azurite/dist/src/blob/main.js"


def missing() -> str | None:
    """Return why no server can run on this machine, or None when one can."""
    if shutil.which("node") is None:
        return "node is not installed (apt-get install nodejs npm)"
    return None if _PROGRAM.exists() else "Azurite is not installed (scripts/install_servers)"


@contextlib.contextmanager
def azure_server(folder: Path, container: str = CONTAINER) -> Generator[str]:
    """Run a server with its data below `folder` and one container; yield its endpoint, with the account."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    command = [
        str(shutil.which("node")), str(_PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(port),
        "--location", str(folder), "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    with running(command, url=endpoint, log=folder / "server.log"):
        _make_container(endpoint, container)
        yield endpoint


def environment() -> dict[str, str]:
    """Return the variables that the vendor's tools take credentials from."""
    return {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}


def _make_container(endpoint: str, container: str) -> None:
    """Make the container; obstore makes none."""
    date = formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
    resource = f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
    digest = hmac.digest(base64.b64decode(KEY), f"PUT{12 * chr(10)}{canonical}{resource}".encode(), "sha256")
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers["Content-Length"] = "0"
    request = urllib.request.Request(
        f"{endpoint}/{container}?restype=container", method="PUT", headers=headers
    )
    urllib.request.urlopen(request, timeout=60).close()
