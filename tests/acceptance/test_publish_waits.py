"""`upswell publish --wait` says why nothing gets through, and ends; as a person types it, on both brokers."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from conftest import skip_or_fail
from support.system import System, wait_until
from support.terminal import CTRL_C, Terminal
from upswell.broker import open_broker
from upswell.messages import UploadRequest, decode
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from upswell.broker import Delivery

BROKERS = ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]
CLOSED = "http://127.0.0.1:9"
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}


@pytest.fixture(params=BROKERS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"waits{uuid4().hex[:8]}") as made:
        for name in ("a.jpg", "b.jpg"):
            (made.sources / name).write_text(name)
        yield made


@contextmanager
def consumer(system: System, take: Callable[[UploadRequest], None]) -> Generator[None]:
    """A worker of somebody else's: it takes and acknowledges, and answers nobody."""
    ready, over = threading.Event(), threading.Event()

    async def work() -> None:
        settings = Settings(broker_url=system.broker_url, state_dir=system.environment["UPSWELL_STATE_DIR"])
        broker = open_broker(settings, name=f"foreign-{uuid4().hex[:8]}")
        await broker.connect()
        queue = f"{system.app_id}_upload"

        def on_delivery(delivery: Delivery) -> None:
            take(decode(UploadRequest, delivery.body))
            broker.ack(delivery)

        while await broker.depth(queue) is None:
            ready.set()
            await asyncio.sleep(0.1)
        await broker.consume(queue, on_delivery, prefetch_count=10)
        ready.set()
        await asyncio.to_thread(over.wait)
        await broker.close()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    ready.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join()


def store(system: System) -> Callable[[UploadRequest], None]:
    def take(request: UploadRequest) -> None:
        target = system.store / str(request.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(request.uri.removeprefix("file://"), target)

    return take


def unwrapped(text: str) -> str:
    """Return a text without the places where a line may have been broken."""
    return "".join(text.split())


def test_a_store_that_is_away_is_told_while_it_waits_and_at_the_end(system: System) -> None:
    system.environment |= KEYS | {"UPSWELL_STORE_ENDPOINT": CLOSED, "UPSWELL_DESTINATION": "s3://photos"}
    system.start("worker", "--app", system.app_id)
    with Terminal(system.environment, system.sources, width=80) as terminal:
        terminal.type(f"upswell publish --app {system.app_id} --wait *.jpg")
        terminal.wait_for(r"\d+ failed: .*cannot connect")
        terminal.press(CTRL_C)
        shown = terminal.finish()
    assert shown.status == 130
    last = shown.text[shown.text.rindex("failed: ") :]
    assert "cannot connect" in last, shown.text
    assert "interrupted: run the same command again to upload the rest" in shown.text


def test_dead_ones_are_told_by_reason_and_counted(system: System) -> None:
    for number in range(20):
        (system.sources / f"{number}.txt").touch()
    system.environment["UPSWELL_SOURCE_ROOTS"] = f"{system.folder / 'elsewhere'}"
    system.start("worker", "--app", system.app_id)
    with Terminal(system.environment, system.sources, width=120) as terminal:
        shown = terminal.run(f"upswell publish --app {system.app_id} --wait *.txt")
    assert shown.status == 1
    assert "\n20 failed: " in shown.text, shown.text


def test_a_misspelt_application_is_told_at_once_with_the_known_ones(system: System) -> None:
    system.environment["UPSWELL_APPS"] = f"{system.app_id},films"
    wrong = f"{system.app_id}x"
    with Terminal(system.environment, system.sources, width=80) as terminal:
        shown = terminal.run(f"upswell publish --app {wrong} a.jpg")
        assert shown.status == 0
        text = unwrapped(shown.text)
        assert unwrapped(f"nobody consumes {wrong}_upload: {wrong} is not a known application") in text
        assert unwrapped(f"(films, {system.app_id}); did you mean {system.app_id}?") in text
        terminal.type(f"upswell publish --app {system.app_id} --wait a.jpg")
        terminal.wait_for("waiting until somebody does; after Ctrl-C the uploads stay queued")
        line = unwrapped(
            f'start "upswell up --app {system.app_id}" or "upswell worker --app {system.app_id}"'
        )
        assert line in unwrapped(terminal.text)
        system.start("worker", "--app", system.app_id)
        shown = terminal.finish()
    assert shown.status == 0, shown.text
    assert unwrapped(f"stored at file://{system.store}/a.jpg") in unwrapped(shown.text)


def test_where_a_scaler_runs_nobody_is_asked_to_start_one(system: System) -> None:
    system.environment["UPSWELL_MIN_WORKERS"] = "0"
    up = system.start("up")
    wait_until(lambda: "event=scaler.started" in system.said(), 60, system.logs)
    nothing = ("publish", "--app", system.app_id, "--requests", "/dev/null")
    runs = f"nobody consumes {system.app_id}_upload: a scaler runs, which starts workers when they are needed"
    # Its heart beats once a second, and two are waited for: on a busy machine it may be heard later.
    wait_until(lambda: runs in system.run(*nothing).stderr, 60, system.logs)
    done = system.run("publish", "--app", system.app_id, "--wait", str(system.sources), timeout=100)
    assert f"nobody consumes {system.app_id}_upload: " in done.stderr
    assert done.stdout.splitlines()[-1] == f"stored below file://{system.store}/"
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0, system.logs()


def test_objects_are_found_in_the_destination_where_replies_are_lost(system: System) -> None:
    with consumer(system, store(system)):
        done = system.run(
            "publish", "--app", system.app_id, "--wait", "--json", str(system.sources), timeout=100
        )
    summary = json.loads(done.stdout)
    assert (summary["end"], summary["stored"], summary["outstanding"]) == ("complete", 2, 0)


def test_it_ends_where_nobody_answers_and_the_destination_has_nothing(system: System) -> None:
    system.environment["UPSWELL_UPLOAD_TIMEOUT"] = "5"
    with consumer(system, lambda _request: None):
        done = system.run(
            "publish", "--app", system.app_id, "--wait", str(system.sources), timeout=100, check=False
        )
    assert done.returncode == 1
    assert "2 uploads left the queue without an answer, and the destination does not have them" in done.stdout


@pytest.fixture(params=BROKERS)
def on_a_small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """A system whose state has a disk of four megabytes."""
    disk = tmp_path / "state"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        skip_or_fail("cannot mount a small disk")
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    try:
        with System(tmp_path, broker_url=url, app_id=f"full{uuid4().hex[:8]}") as made:
            yield made
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_of_the_state_ends_no_waiting_in_a_traceback(on_a_small_disk: System) -> None:
    system, state = on_a_small_disk, on_a_small_disk.folder / "state"
    (system.sources / "a.jpg").write_text("a")
    publisher = system.start("publish", "--app", system.app_id, "--wait", str(system.sources))
    wait_until(lambda: "nobody consumes" in system.said(), 60, system.logs)
    ballast = state / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 8_000_000)
    if system.broker_url:  # the worker's state is elsewhere
        system.environment["UPSWELL_STATE_DIR"] = str(system.folder / "other")
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            publisher.wait(5)
        ballast.unlink()
    system.start("worker", "--app", system.app_id)
    assert publisher.wait(60) == 0, system.logs()
    assert "Traceback" not in system.said()
    assert (system.store / "a.jpg").exists()
    if system.broker_url:
        assert "the next publish asks the destination instead" in (system.folder / "publish.log").read_text()
