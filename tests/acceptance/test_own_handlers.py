"""Handlers of one's own in real workers: how they are stopped at the drain deadline, and what errors do."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
import asyncio, time
from pathlib import Path
from upswell.handlers import Context, PermanentUploadError, Stored, TemporaryUploadError, UploadRequest

def note(word):
    with open("notes", "a") as file:
        file.write(word + "\\n")

def plain(request: UploadRequest, context: Context) -> Stored:
    note("begun")
    while not context.is_stopped:
        time.sleep(0.05)
    note("stopped")
    context.check()

async def asynchronous(request: UploadRequest, context: Context) -> Stored:
    note("begun")
    try:
        await asyncio.sleep(600)
    finally:
        note("stopped")

async def threaded(request: UploadRequest, context: Context) -> Stored:
    def work():
        note("begun")
        try:
            while True:
                time.sleep(0.05)
                context.progress(1)
        finally:
            note("stopped")
    await context.in_thread(work)

def deaf(request: UploadRequest) -> None:
    note("begun")
    time.sleep(600)

def quick(request: UploadRequest, context: Context) -> Stored:
    note("begun")
    time.sleep(1)
    return context.store(b"made", request.key)

def renamed(request: UploadRequest, context: Context) -> Stored:
    return context.store(b"made", f"made/{request.key}.new")

def fails(request: UploadRequest) -> None:
    if request.key == "permanent":
        raise PermanentUploadError("never")
    if request.key == "once" and not Path("tried").exists():
        Path("tried").touch()
        raise TemporaryUploadError("not now")
"""

PATIENT = """
import upswell.worker.loop as loop
from upswell.cli import main
loop.GRACE_SECONDS = 30.0
main()
"""
"""`upswell` that gives a handler longer to end: where a machine holds it up, it is not left behind."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, app_id="own") as made:
        (tmp_path / "mine.py").write_text(MODULE)
        (made.sources / "one").write_bytes(b"one")
        yield made


def notes(system: System) -> list[str]:
    path = system.folder / "notes"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("handler", ["plain", "asynchronous", "threaded", "deaf"])
def test_at_the_drain_deadline_a_handler_is_stopped_and_its_request_goes_to_another(
    system: System, handler: str
) -> None:
    system.run("publish", "--app", system.app_id, str(system.sources))
    options = ("--app", system.app_id, "--handler", f"mine:{handler}", "--drain-timeout", "0.5")
    patience = {} if handler == "deaf" else {"program": ("-c", PATIENT)}
    worker = system.start("worker", *options, **patience)
    wait_until(lambda: notes(system) == ["begun"], 60, system.logs)
    worker.send_signal(signal.SIGTERM)
    status = worker.wait(60)
    log = (system.folder / "worker.log").read_text()
    assert "worker.drain_overdue" in log
    assert "worker.uploads_released" in log
    # What cannot be stopped is left behind: the process ends all the same, and says so.
    assert (status, notes(system)) == ((75, ["begun"]) if handler == "deaf" else (0, ["begun", "stopped"]))
    system.start("worker", "--app", system.app_id)  # the usual handler
    wait_until((system.store / "one").exists, 60, system.logs)


def test_before_the_drain_deadline_a_handler_ends_in_peace(system: System) -> None:
    system.run("publish", "--app", system.app_id, str(system.sources))
    options = ("--app", system.app_id, "--handler", "mine:quick")
    worker = system.start("worker", *options, "--drain-timeout", "300")
    wait_until(lambda: notes(system) == ["begun"], 60, system.logs)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert (system.store / "one").read_bytes() == b"made"
    assert "worker.drain_overdue" not in system.said()


def test_publish_and_upload_tell_the_key_that_the_handler_chose(system: System) -> None:
    system.environment |= {"UPSWELL_HANDLER": "mine:renamed"}
    system.start("worker", "--app", system.app_id)
    told = system.run("publish", "--app", system.app_id, "--wait", str(system.sources / "one"))
    assert told.stdout.splitlines()[-1] == f"stored at file://{system.store}/made/one.new"
    told = system.run("upload", "sources/one", "store/")
    assert told.stdout.split()[-1].endswith("store/made/one.new")
    assert (system.store / "made/one.new").read_bytes() == b"made"


def test_what_a_handler_raises_decides_whether_a_request_comes_again(system: System) -> None:
    lines = [
        json.dumps({"type": "file", "uri": "file:///x", "id": key, "key": key})
        for key in ("permanent", "once", "fine")
    ]
    path = system.folder / "requests.jsonl"
    path.write_text("\n".join(lines))
    system.environment["UPSWELL_RETRY_BACKOFF"] = "0.05"
    system.start("worker", "--app", system.app_id, "--handler", "mine:fails")
    done = system.run("publish", "--app", system.app_id, "--wait", "--json", str(path), check=False)
    summary = json.loads(done.stdout)
    assert (summary["stored"], summary["dead"], summary["failed_attempts"]) == (2, 1, 1)
    assert summary["failures"] == [{"name": "permanent", "reason": "never"}]
    assert system.dead() == {"permanent": "never"}
