"""`upswell upload`, started as a user does: no broker, no settings."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b"holiday" * 10_000


def upload(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "upswell", "upload", *arguments],
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beach.jpg").write_bytes(BODY)
    return tmp_path


def test_a_file_is_stored_and_its_checksum_printed(folder: Path) -> None:
    done = upload(folder, "beach.jpg", "out/")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"sha256:{hashlib.sha256(BODY).hexdigest()}  out/beach.jpg\n"
    assert "68.4 KiB stored in" in done.stderr
    assert [path.name for path in (folder / "out").iterdir()] == ["beach.jpg"]  # nothing of ours stays
    assert (folder / "out/beach.jpg").read_bytes() == BODY


def test_what_is_stored_is_told_to_machines(folder: Path) -> None:
    done = upload(folder, "beach.jpg", "out/other.jpg", "--json")
    told = json.loads(done.stdout)
    assert (told["destination"], told["bytes"], told["attempts"]) == ("out/other.jpg", len(BODY), 1)
    assert told["checksum"] == f"sha256:{hashlib.sha256(BODY).hexdigest()}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing", "out/"], "error: cannot read missing: No such file or directory"),
        (
            [".", "out/"],
            "error: . is a directory; to upload all its files: upswell",
        ),
        (["beach.jpg", "ftp://host/x/"], "error: scheme must be one of file, s3, gs, az"),
        (["/dev/null", "out/"], "error: a source must be a regular file, got a device"),
        (["beach.jpg", "out/", "--checksum", "md5:1"], "error: invalid upload"),
        (["beach.jpg", "out/", "--type", "strange"], "error: type must be one of"),
        (["beach.jpg", "out/", "--handler", "mine:f"], "error: handler mine:f: cannot import mine"),
    ],
    ids=["missing", "directory", "scheme", "device", "checksum", "type", "handler"],
)
def test_a_mistake_is_one_line_and_exit_status_1(folder: Path, arguments: list[str], message: str) -> None:
    done = upload(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "out/beach.jpg").exists()


def test_a_pipe_is_no_source(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    done = upload(folder, "pipe", "out/")
    assert (done.returncode, done.stderr) == (1, "error: a source must be a regular file, got a pipe: pipe\n")


def test_a_wrong_checksum_is_tried_again_and_told(folder: Path) -> None:
    wrong = f"sha256:{'0' * 64}"
    done = upload(folder, "beach.jpg", "out/", "--checksum", wrong, "--delivery-limit", "2")
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("attempt 1 failed: the source has checksum")
    assert last.startswith("error: the source has checksum")
    assert last.endswith("; gave up after 2 attempts")


def test_a_handler_of_ones_own_can_be_tried_without_a_broker(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "def upper(request, context):\n"
        "    with context.open_source() as source:\n"
        "        return context.store(source.read().upper(), request.key + '.txt')\n"
    )
    done = upload(folder, "beach.jpg", "out/", "--handler", "mine:upper")
    assert done.returncode == 0, done.stderr
    assert (folder / "out/beach.jpg.txt").read_bytes() == BODY.upper()


def test_a_handlers_own_error_is_one_line_and_its_own_frames_and_is_tried_again(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "def load(request):\n    return parse('amqp://me:s3cret@host')\n\n"
        "def parse(text):\n    return __import__('json').loads(text)\n"
    )
    limits = {"UPSWELL_DELIVERY_LIMIT": "2", "UPSWELL_RETRY_BACKOFF": "0.01"}
    done = upload(folder, "beach.jpg", "out/", "--handler", "mine:load", **limits)
    assert done.returncode == 1
    first, second, tried, *_, last = done.stderr.splitlines()
    assert first == "  mine.py:2 in load: return parse('amqp://***@host')"
    assert second == "  mine.py:5 in parse: return __import__('json').loads(text)"
    assert tried.startswith("attempt 1 failed: JSONDecodeError: Expecting value")
    assert last.startswith("error: JSONDecodeError: Expecting value")
    assert last.endswith("gave up after 2 attempts")
    assert "Traceback" not in done.stderr


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_source_on_the_web_is_read_where_the_settings_allow_it(folder: Path, web: str) -> None:
    allowed = {"UPSWELL_SOURCE_ORIGINS": web, "UPSWELL_SOURCE_NETWORKS": "127.0.0.0/8"}
    done = upload(folder, f"{web}/beach.jpg", "out/", "--json", **allowed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == len(BODY)
    assert (folder / "out/beach.jpg").read_bytes() == BODY
    for uri, settings, message in (
        (f"{web}/none", allowed, "error: unexpected status 404 (Not Found), not 200"),
        (f"{web}/beach.jpg", {}, "error: the source is not from source_origins"),
        (
            f"{web}/beach.jpg",
            {"UPSWELL_SOURCE_ORIGINS": web},
            "error: the address of 127.0.0.1 is neither public nor in source_networks: 127.0.0.1",
        ),
    ):
        done = upload(folder, uri, "elsewhere/", **settings)
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert len(done.stderr.splitlines()) == 1
