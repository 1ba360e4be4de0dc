"""`upswell doctor` really asks: one line each, ok or what to do, and nothing stays of what it tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from conftest import skip_or_fail
from support import azure_server, gcs_server, rclone, s3_server
from support.system import System, wait_until
from upswell.cli.look import checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "system", app_id="e1") as made:
        made.environment = {
            name: value
            for name, value in made.environment.items()
            if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))
        }
        made.environment["HOME"] = str(tmp_path)  # no profiles
        yield made


def diagnose(system: System, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status, and each check by its subject, without the application's name."""
    done = system.run("doctor", "--json", *arguments, check=False)
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    # It says so, and is right, where another process is held up in the midst of a write.
    assert [line for line in done.stderr.splitlines() if "broker.held_up" not in line] == []
    return done.returncode, {
        check["subject"].removeprefix(system.app_id).strip() or "application": check
        for check in told["checks"]
    }


def wrong(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return what needs to be fixed, but for monitor and scaler, which these tests do not start."""
    running = ("monitor", "scaler")
    return {name: check["words"] for name, check in found.items() if not check["ok"] and name not in running}


def test_a_system_that_runs_is_well_and_a_monitor_that_died_is_named(system: System) -> None:
    up = system.start("up")
    wait_until((system.store / ".upswell-tmp").exists, 60, system.logs)
    shown = system.run_until_well("doctor")
    lines = dict(line.removeprefix("ok  ").split(": ", 1) for line in shown.splitlines())
    assert list(lines) == [
        "broker", "permissions", "queues", "monitor", "scaler", "state_dir", system.app_id,
        f"{system.app_id} handler", f"{system.app_id} sources", f"{system.app_id} destination",
        "fleet", "clock",
    ]  # fmt: skip
    assert lines[f"{system.app_id} destination"].startswith(
        f"{system.store}: wrote, read and deleted a file, "
    )
    assert [path.name for path in system.store.iterdir()] == [".upswell-tmp"]
    os.kill(up.pid, signal.SIGKILL)
    up.wait()
    status, found = diagnose(system)
    assert status == 1
    assert found["monitor"]["words"].endswith("start `upswell monitor`, or `upswell up`")
    assert not found["scaler"]["ok"]
    assert not wrong(found)


def test_each_thing_that_is_wrong_has_a_line_that_says_what_to_do(system: System) -> None:
    (system.folder / "file").write_text("")
    status, found = diagnose(
        system,
        *("--source-root", "/nowhere/at/all"),
        *("--destination", str(system.folder / "file")),
        *("--set", "handler=nowhere:function"),
        *("--fleet", "zeppelin"),
    )
    assert status == 1
    said = wrong(found)
    assert said["sources"] == "source_roots must be folders, got /nowhere/at/all"
    assert said["destination"].startswith("destination must be a writable folder, got ")
    assert said["handler"].startswith("handler nowhere:function: cannot import nowhere (looked in ")
    assert said["fleet"].startswith("fleet must be one of process, docker, ")
    assert set(said) == {"sources", "destination", "handler", "fleet"}


def test_a_broker_that_does_not_answer_is_one_line_beside_those_of_the_others(embedded: System) -> None:
    system = embedded
    with socket.create_server(("127.0.0.1", 0)) as silent:
        system.environment["AMQPURL"] = f"amqp://me:TOPSECRET@127.0.0.1:{silent.getsockname()[1]}/"
        status, found = diagnose(system)
        while "no answer within 25 s" in wrong(found)["broker"]:  # it was held up from the 15th second on
            status, found = diagnose(system)
    assert status == 1
    assert "did not answer within 15 s (set AMQPURL, or unset it" in wrong(found)["broker"]
    assert "TOPSECRET" not in json.dumps(found)
    assert found["destination"]["ok"]


@pytest.mark.parametrize("kind", ["s3-seaweedfs", "s3-moto", "azure", "gcs"])
def test_a_bucket_is_written_to_and_read_and_what_is_wrong_with_it_is_told(
    kind: str, embedded: System, tmp_path: Path
) -> None:
    family, _, program = kind.partition("-")
    missing = {"s3": lambda: s3_server.missing(program or "seaweedfs"), "azure": azure_server.missing,
               "gcs": gcs_server.missing}  # fmt: skip
    reason = missing[family]() or rclone.missing()
    if reason:
        skip_or_fail(reason)
    system = embedded
    with _server(family, program, tmp_path) as (scheme, endpoint, variables, remote):
        system.environment |= {
            "UPSWELL_DESTINATION": f"{scheme}://bucket/uploads",
            "UPSWELL_STORE_ENDPOINT": endpoint,
        }
        _status, found = diagnose(system)
        assert wrong(found)["destination"].startswith(
            (f"no credentials for {scheme}://bucket: set ", "az://")
        )
        done = system.run("upload", __file__, f"{scheme}://bucket/x/", check=False)
        assert done.returncode == 1
        assert "error: no credentials for " in done.stderr or "set AZURE_STORAGE_ACCOUNT_NAME" in done.stderr
        assert "attempt" not in done.stderr
        done = system.run("worker", "--app", system.app_id, check=False)
        assert done.returncode == 1
        assert "error: no credentials for " in done.stderr or "set AZURE_STORAGE_ACCOUNT_NAME" in done.stderr

        system.environment |= variables
        _status, found = diagnose(system)
        name = next(iter(name for name in variables if "KEY" in name or "CREDENTIALS" in name))
        assert not wrong(found)
        assert found["destination"]["words"].startswith(
            f"{scheme}://bucket/uploads: wrote, read and deleted an object, with {name}"
        )
        _status, found = diagnose(system, "--destination", f"{scheme}://nobody-has-it/uploads")
        assert f'"nobody-has-it" does not exist at {endpoint}' in wrong(found)["destination"]
        if kind == "s3-seaweedfs":
            system.environment["AWS_ACCESS_KEY_ID"] = s3_server.READ_ONLY_KEY
            _status, found = diagnose(system)
            lacks = "AccessDenied: the credentials may not PutObject on s3://bucket/uploads/"
            assert wrong(found)["destination"].startswith(lacks)
        assert rclone.names(remote) == {}
        for secret in (s3_server.SECRET_KEY, azure_server.KEY):
            assert secret not in json.dumps(found)


def _server(family: str, program: str, folder: Path) -> Any:
    from contextlib import contextmanager  # noqa: PLC0415 - only here

    @contextmanager
    def running() -> Iterator[tuple[str, str, dict[str, str], str]]:
        if family == "azure":
            with azure_server.azure_server(folder / "azure") as endpoint:
                yield "az", endpoint, azure_server.environment(), rclone.azure(endpoint)
            return
        with s3_server.s3_server(program or "seaweedfs", folder / "s3") as endpoint:
            if family == "s3":
                yield "s3", endpoint, s3_server.environment(), rclone.s3(endpoint)
                return
            (folder / "gcs").mkdir()
            with gcs_server.gcs_server(endpoint, folder / "gcs") as front:
                yield "gs", front, gcs_server.environment(folder / "gcs"), rclone.s3(endpoint)

    return running()


def test_a_check_that_hangs_is_given_up_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "DEADLINE_SECONDS", 0.2)
    hangs = threading.Event()
    check = checks._blocking("store", lambda: str(hangs.wait()))
    try:
        assert asyncio.run(check.results()) == [checks.CheckResult("store", False, "no answer within 0.2 s")]
    finally:
        hangs.set()


def test_a_check_of_another_package_may_raise_anything() -> None:
    check = checks._blocking("mine", lambda: str(1 // 0))
    assert asyncio.run(check.results()) == [
        checks.CheckResult("mine", False, "ZeroDivisionError: integer division or modulo by zero")
    ]
