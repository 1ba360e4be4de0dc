"""Each block of docs/uploads.md works as it stands there, against the server that the environment names.

What a reader has (a bucket, credentials, a file) the test puts there; what is stored then, rclone says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support import azure_server, gcs_server, rclone, s3_server
from support.server_process import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

PAGE = Path(__file__).parents[2] / "docs/uploads.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PHOTO = b"a photo" * 1000
MARKS = {
    "http": "UPSWELL_SOURCE_ORIGINS",
    "folder": "file:///srv/uploads",
    "s3": "UPSWELL_STORE_REGION",
    "compatible": "UPSWELL_STORE_ENDPOINT",
    "gcs": "gs://",
    "azure": "az://",
}
"""What tells each block from the others."""


def block(name: str) -> str:
    found = [text for text in BLOCK.findall(PAGE.read_text("utf-8")) if MARKS[name] in text]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "holiday.jpg").write_bytes(PHOTO)
    return tmp_path


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server("seaweedfs", tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        s3_server.client(endpoint).create_bucket(Bucket="my-bucket")
        yield endpoint


def server(kind: str, folder: Path) -> AbstractContextManager[str]:
    need(s3_server.missing(kind), rclone.missing())
    return s3_server.s3_server(kind, folder)


def need(*reasons: str | None) -> None:
    for reason in reasons:
        if reason:
            skip_or_fail(reason)


def run(text: str, home: Path, **variables: str) -> None:
    done = subprocess.run(
        ["bash", "-e", "-u", "-c", text],
        cwd=home,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, text + done.stdout + done.stderr
    assert "uploads/holiday.jpg" in done.stdout


def test_every_block_of_the_page_is_run_by_one_of_these_tests() -> None:
    assert sorted(BLOCK.findall(PAGE.read_text("utf-8"))) == sorted(block(name) for name in MARKS)


def test_a_folder(home: Path) -> None:
    run(block("folder"), home)
    assert (home / "uploads/holiday.jpg").read_bytes() == PHOTO


def test_amazon_s3_by_moto(home: Path) -> None:
    with server("moto", home / "moto") as endpoint:
        s3_server.client(endpoint).create_bucket(Bucket="my-bucket")
        run(block("s3"), home, UPSWELL_STORE_ENDPOINT=endpoint, **s3_server.environment())
        assert rclone.read(rclone.s3(endpoint, "my-bucket"), "uploads/holiday.jpg") == PHOTO


def test_what_speaks_s3_by_seaweedfs(home: Path, seaweedfs: str) -> None:
    run(block("compatible"), home, ENDPOINT=seaweedfs, **s3_server.environment())
    assert rclone.read(rclone.s3(seaweedfs, "my-bucket"), "uploads/holiday.jpg") == PHOTO


def test_google_cloud_storage_by_a_stand_in(home: Path, seaweedfs: str) -> None:
    need(gcs_server.missing())
    s3_server.client(seaweedfs).delete_object(Bucket="my-bucket", Key="uploads/holiday.jpg")
    with gcs_server.gcs_server(seaweedfs, home) as endpoint:
        run(block("gcs"), home, UPSWELL_STORE_ENDPOINT=endpoint)
    assert rclone.read(rclone.s3(seaweedfs, "my-bucket"), "uploads/holiday.jpg") == PHOTO


def test_azure_blob_storage_by_azurite(home: Path) -> None:
    need(azure_server.missing(), rclone.missing())
    with azure_server.azure_server(home / "azurite", container="my-container") as endpoint:
        run(block("azure"), home, UPSWELL_STORE_ENDPOINT=endpoint, **azure_server.environment())
        assert rclone.read(rclone.azure(endpoint, "my-container"), "uploads/holiday.jpg") == PHOTO


def test_a_source_on_the_web(home: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(command, url=f"http://localhost:{port}/", log=home / "web.log"):
        run(block("http"), home, ORIGIN=f"http://localhost:{port}")
    assert (home / "uploads/holiday.jpg").read_bytes() == PHOTO
