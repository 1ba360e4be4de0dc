"""`upswell upload` to Google Cloud Storage and back, by the stand-in; rclone looks behind it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from conftest import skip_or_fail
from support import gcs_server, rclone, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

MIB = 1024 * 1024


class Google:
    """The stand-in's endpoint, what keeps its bytes, and the account's folder."""

    def __init__(self, endpoint: str, behind: str, folder: Path) -> None:
        self.endpoint = endpoint
        self.behind = behind
        self.folder = folder

    def upload(
        self, cwd: Path, *arguments: str, account: str | None = "account.json", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `upswell upload` with an account's file, or none."""
        if account:
            variables["GOOGLE_APPLICATION_CREDENTIALS"] = str(self.folder / account)
        return subprocess.run(
            [sys.executable, "-m", "upswell", "upload", *arguments],
            cwd=cwd,
            env={
                "HOME": str(cwd),
                "PATH": os.environ["PATH"],
                "UPSWELL_STORE_ENDPOINT": self.endpoint,
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    reason = gcs_server.missing() or rclone.missing()
    if reason:
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("google")
    with (
        s3_server.s3_server("seaweedfs", folder / "s3") as behind,
        gcs_server.gcs_server(behind, folder) as endpoint,
    ):
        yield Google(endpoint, behind, folder)


def stored(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_large_file_goes_there_in_parts_and_comes_back_whole(google: Google, tmp_path: Path) -> None:
    body = random.Random(1).randbytes(200 * MIB + 1)
    (tmp_path / "film.mp4").write_bytes(body)
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    there = stored(google.upload(tmp_path, "film.mp4", "gs://bucket/films/", "--json"))
    assert (there["bytes"], there["checksum"], there["attempts"]) == (len(body), checksum, 1)
    remote = rclone.s3(google.behind)
    assert rclone.names(remote)["films/film.mp4"] == len(body)
    assert hashlib.sha256(rclone.read(remote, "films/film.mp4")).hexdigest() == checksum[7:]
    assert s3_server.unfinished(google.behind) == []
    back = stored(google.upload(tmp_path, "gs://bucket/films/film.mp4", "back/", "--json"))
    assert (back["bytes"], back["checksum"]) == (len(body), checksum)
    assert (tmp_path / "back/film.mp4").read_bytes() == body


def test_a_conflict_ends_as_the_settings_say(google: Google, tmp_path: Path) -> None:
    remote = rclone.s3(google.behind)
    (tmp_path / "note").write_bytes(b"first")
    stored(google.upload(tmp_path, "note", "gs://bucket/conflict/", "--json"))
    (tmp_path / "note").write_bytes(b"second")
    for choice, code, kept in (("fail", 1, b"first"), ("skip", 0, b"first"), ("overwrite", 0, b"second")):
        done = google.upload(tmp_path, "note", "gs://bucket/conflict/", "--on-conflict", choice)
        assert done.returncode == code, done.stderr
        assert rclone.read(remote, "conflict/note") == kept


def test_a_public_object_is_read_without_an_account(google: Google, tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"for all")
    stored(google.upload(tmp_path, "note", f"gs://{gcs_server.PUBLIC_BUCKET}/", "--json"))
    uri = f"gs://{gcs_server.PUBLIC_BUCKET}/note"
    done = google.upload(
        tmp_path, uri, "back/", "--json", account=None, UPSWELL_STORES_OBJECTS_ANONYMOUS="true"
    )
    assert stored(done)["bytes"] == 7
    assert (tmp_path / "back/note").read_bytes() == b"for all"


@pytest.mark.parametrize(
    ("account", "told"),
    [
        (
            "stranger.json",
            "AuthenticationRequired: not authenticated: check the credentials for gs://bucket at http://127.0.0.1:",
        ),
        ("missing.json", "missing.json: No such file or directory"),
    ],
)
def test_credentials_that_do_not_let_us_in_are_told_without_what_they_hold(
    google: Google, tmp_path: Path, account: str, told: str
) -> None:
    (tmp_path / "note").write_bytes(b"note")
    arguments = ["note", "gs://bucket/nobody/", "--delivery-limit", "1"]
    done = google.upload(tmp_path, *arguments, account=account)
    assert done.returncode == 1
    assert told in done.stderr
    assert "PRIVATE KEY" not in done.stderr
    assert "Bearer" not in done.stderr
