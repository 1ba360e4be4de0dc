"""No secret comes out again: keys of the store, a password in an endpoint, the signature of a signed URL.

The real commands are given secrets the ways a user would, and made to fail in many ways. Then everything
that they wrote is searched: logs, errors, summaries, reports, the headers of dead letters, the journal, and
the command lines of their processes. Only a request itself may hold a signed URL: who stores it must read it.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support import s3_server
from support.bad_http_server import BadHttpServer, broken, cut, redirect, status, whole
from support.server_process import free_port
from support.system import System, foreign_connection, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqpstorm.message import Message

pytestmark = [pytest.mark.slow, pytest.mark.rabbitmq, pytest.mark.timeout(600)]

SIGNATURE = "sIgNaTuRe0fTheUrl"
SECRET_KEY = "tHeSeCrEtKey0fTheStore"
TOKEN = "tHeSesSi0nT0ken"
PASSWORD = "tHePassw0rd0fTheEndp0int"
SECRETS = (SIGNATURE, SECRET_KEY, TOKEN, PASSWORD)
QUERY = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature={SIGNATURE}"

WAYS = {
    "/denied": (status("403 Forbidden"), "unexpected status 403"),
    "/missing": (status("404 Not Found"), "unexpected status 404"),
    "/busy": (status("503 Service Unavailable"), "unexpected status 503"),
    "/cut": (broken(b"x" * 1000, 500, cut, etag=None), "incomplete source"),
    "/moved": (redirect(f"http://10.1.2.3/x{QUERY}"), "not from source_origins"),
    "/loop": (redirect(f"/loop{QUERY}"), "redirect"),
}
"""Path -> how the web server answers, and what the reason says among other things."""


@pytest.fixture
def web() -> Iterator[BadHttpServer]:
    with BadHttpServer() as server:
        server.paths = {"/good": whole(b"good"), **{path: answer for path, (answer, _) in WAYS.items()}}
        yield server


@pytest.fixture
def system(web: BadHttpServer, rabbitmq: str, tmp_path: Path) -> Iterator[System]:
    settings = {
        "source_origins": f"http://127.0.0.1:{web.port}",
        "source_networks": "127.0.0.0/8",
        "delivery_limit": 2,
        "retry_backoff": 0.1,
        "min_workers": 1,
        "decision_interval": 1,
    }
    with System(
        tmp_path / "system", broker_url=rabbitmq, app_id=f"s{uuid.uuid4().hex[:12]}", **settings
    ) as running:
        keys = {"AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": TOKEN}
        running.environment.update(s3_server.environment() | keys)
        yield running


def write_uris(system: System, web: BadHttpServer) -> Path:
    """Return a list of signed URLs, with which everything goes wrong, and of one that is too long."""
    path = system.folder / "uris"
    lines = [web.url(f"{way}{QUERY}") for way in WAYS]
    lines.append(f"http://127.0.0.1:{free_port()}/refused{QUERY}")
    lines.append(f"https://user:{PASSWORD}@example.org/x{QUERY}")
    lines.append(f"https://example.org/{'x' * 5000}{QUERY}")
    path.write_text("\n".join(lines))
    return path


def publish_nonsense(system: System, web: BadHttpServer) -> None:
    """Publish what is no request and holds a signed URL, written as several languages write JSON."""
    uri = web.url(f"/good{QUERY}")
    bodies = [
        json.dumps({"uri": uri}),
        json.dumps({"uri": uri}).replace("/", "\\/").replace("&", "\\u0026"),
        f"{uri} is no JSON",
        json.dumps({"uri": f"https://user:{PASSWORD * 5}@example.org/{QUERY}"}),
    ]
    with foreign_connection(system.broker_url) as connection, connection.channel() as channel:
        for body in bodies:
            channel.basic.publish(body, f"{system.app_id}_upload")


def take_all(system: System, queue: str) -> list[Message]:
    found: list[Message] = []
    with foreign_connection(system.broker_url) as connection, connection.channel() as channel:
        while (message := channel.basic.get(queue, auto_decode=False)) is not None:
            assert not isinstance(message, dict)
            found.append(message)
    return found


def assert_clean(where: str, text: str | bytes) -> None:
    told = text if isinstance(text, str) else text.decode("utf-8", "replace")
    for secret in SECRETS:
        at = told.find(secret[:8])  # half of one is no better
        assert at < 0, f"{where} tells a secret: {told[max(0, at - 300) : at + 100]}"


def assert_folder_clean(system: System, *inputs: Path) -> None:
    """Search all that was written below the system's folder but what the test itself wrote."""
    for path in system.folder.rglob("*"):
        if path.is_file() and path not in inputs:
            assert_clean(str(path), path.read_bytes())


def assert_command_lines_clean(system: System) -> int:
    """Search the command lines of all processes of the system; return how many there were."""
    mark = f"UPSWELL_STATE_DIR={system.folder / 'state'}".encode()
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                assert_clean(f"the command line of {entry.name}", (entry / "cmdline").read_bytes())
                count += 1
        except OSError:
            continue
    return count


def test_a_signed_url_is_in_no_log_report_summary_dead_letter_or_command_line(
    system: System, web: BadHttpServer
) -> None:
    uris = write_uris(system, web)
    worker = system.start("worker")
    told = system.run(
        "publish",
        "--app",
        system.app_id,
        "--wait",
        "--timeout",
        "90",
        "--requests",
        str(uris),
        timeout=120,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.count("dead ") >= len(WAYS), told.stderr
    for path, (_answer, reason) in WAYS.items():
        assert re.search(rf"dead .*{path}.*{reason}", told.stderr), f"{path}: {told.stderr}"
    assert_clean("publish --wait", told.stdout + told.stderr)
    told = system.run(
        "publish", "--app", system.app_id, "--wait", "--timeout", "90", "--fresh", "--json",
        "--requests", str(uris), timeout=120, check=False,
    )  # fmt: skip
    assert len(json.loads(told.stdout)["failures"]) >= len(WAYS)
    assert_clean("publish --json", told.stdout + told.stderr)
    assert_clean(
        "dry run",
        system.run("publish", "--app", system.app_id, "-n", "--requests", str(uris), check=False).stdout,
    )
    publish_nonsense(system, web)
    dead = f"{system.app_id}_upload.dead"
    wait_until(lambda: len(take_all(system, dead)) >= 2 * len(WAYS) + 4, 60, system.logs)
    for arguments in (("list",), ("list", "--json")):
        listed = system.run("dead", *arguments, "--app", system.app_id)
        assert "?***" in listed.stdout
        assert_clean(f"dead {arguments}", listed.stdout + listed.stderr)
    for line in system.run("dead", "list", "--json", "--app", system.app_id).stdout.splitlines():
        shown = system.run("dead", "show", "--app", system.app_id, json.loads(line)["id"])
        assert_clean("dead show", shown.stdout + shown.stderr)
        break
    assert_command_lines_clean(system)
    worker.terminate()
    worker.wait(60)
    reports = take_all(system, f"{system.app_id}_report")
    assert len(reports) >= 2 * len(WAYS)
    for message in reports:
        assert_clean("a report", bytes(message.body))
    letters = take_all(system, f"{system.app_id}_upload.dead")
    for message in letters:
        assert_clean("the headers of a dead letter", str(message.properties["headers"]))
    assert any(SIGNATURE.encode() in bytes(message.body) for message in letters), "a retry needs it"
    assert_folder_clean(system, uris)


def test_the_keys_of_a_store_are_in_no_log_report_status_or_command_line(
    system: System, web: BadHttpServer, tmp_path: Path
) -> None:
    reason = s3_server.missing("seaweedfs")
    if reason:
        skip_or_fail(reason)
    (system.sources / "x").write_bytes(b"x")
    (system.sources / "large").write_bytes(bytes(9 * 1024 * 1024))
    with s3_server.s3_server("seaweedfs", tmp_path / "s3") as endpoint:
        refused = f"http://127.0.0.1:{free_port()}"
        for way in (
            {"UPSWELL_STORE_ENDPOINT": endpoint},
            {"UPSWELL_STORE_ENDPOINT": endpoint, "UPSWELL_ON_CONFLICT": "skip"},
            {"UPSWELL_STORE_ENDPOINT": refused},
            {"UPSWELL_STORE_ENDPOINT": refused.replace("//", f"//user:{PASSWORD}@")},
            {"UPSWELL_STORE_ENDPOINT": endpoint, "AWS_SECRET_ACCESS_KEY": f"{SECRET_KEY}\n"},
        ):
            before = dict(system.environment)
            system.environment.update(way)
            for name in ("x", "large"):
                told = system.run(
                    "upload",
                    str(system.sources / name),
                    f"s3://{s3_server.BUCKET}/y",
                    check=False,
                    timeout=120,
                )
                assert told.returncode == 1
                assert "error: " in told.stderr
                assert_clean(f"upload, {way}", told.stdout + told.stderr)
            told = system.run("upload", web.url(f"/denied{QUERY}"), str(tmp_path / "out") + "/", check=False)
            assert told.returncode == 1
            assert_clean("upload of a signed URL", told.stdout + told.stderr)
            for command in (("config", "check"), ("config", "check", "--json"), ("doctor",)):
                told = system.run(*command, check=False)
                assert_clean(f"{command}, {way}", told.stdout + told.stderr)
            system.environment = before
        system.environment["UPSWELL_DESTINATION"] = f"s3://{s3_server.BUCKET}/y"
        system.environment["UPSWELL_STORE_ENDPOINT"] = endpoint
        parts = [system.start("monitor"), system.start("scaler", "--fleet", "process")]
        wait_until(lambda: bool(system.workers()), 60, system.logs)
        requests = system.folder / "requests.jsonl"
        requests.write_text(json.dumps([(system.sources / name).as_uri() for name in ("x", "large")]))
        system.run("publish", "--app", system.app_id, str(requests))
        wait_until(
            lambda: _worker_logs(system).count("check the credentials for s3://bucket at ") >= 2,
            60,
            system.logs,
        )
        assert assert_command_lines_clean(system) >= 3
        for arguments in (("status",), ("status", "--json")):
            told = system.run(*arguments)
            assert_clean("status", told.stdout + told.stderr)
    for part in parts:  # they write files and rename them
        part.terminate()
        part.wait(60)
    assert_folder_clean(system)


def test_the_worker_itself_says_why_it_cannot_use_an_endpoint_with_a_password(system: System) -> None:
    system.environment["UPSWELL_DESTINATION"] = "s3://bucket/y"
    system.environment["UPSWELL_STORE_ENDPOINT"] = f"http://user:{PASSWORD}@127.0.0.1:{free_port()}"
    told = system.run("worker", check=False)
    assert told.returncode == 1
    assert "store_endpoint must be http(s)://host[:port], without credentials" in told.stderr
    assert_clean("worker", told.stdout + told.stderr)


def _worker_logs(system: System) -> str:
    folder = system.folder / "state" / "logs"
    return "".join(path.read_text("utf-8", "replace") for path in folder.glob("*.log"))
