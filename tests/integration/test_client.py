"""The Python API against a real worker on both brokers, as a program uses it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.rabbitmq_node import RabbitNode, missing
from support.system import System, wait_until
from upswell import AsyncClient, Client, MessageError, UploadFailed, UploadRequest
from upswell.broker import open_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from upswell import PublishCounts, UploadHandle

_numbers = itertools.count(int(time.time() * 1000))

LONG = 90.0


@pytest.fixture(params=[pytest.param("rabbitmq", marks=pytest.mark.rabbitmq), "embedded"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path / "s", broker_url=url, app_id=f"p{next(_numbers)}", status_interval=0.2) as running:
        yield running


def client_of(system: System) -> Client:
    return Client(**overrides(system))


def overrides(system: System) -> dict[str, object]:
    return {
        "broker_url": system.broker_url,
        "state_dir": system.environment["UPSWELL_STATE_DIR"],
        "destination": system.destination,
        "source_roots": [str(system.sources)],
        "report_queue": system.environment["UPSWELL_REPORT_QUEUE"],
        "status_interval": 0.2,
    }


def make_files(system: System, count: int) -> list[Path]:
    system.make_requests(count, size=1000)
    return sorted(system.sources.iterdir())


def test_an_upload_is_published_waited_for_and_found_where_its_url_says(system: System) -> None:
    (file,) = make_files(system, 1)
    system.start("worker", "--app", system.app_id)
    with client_of(system) as uploads:
        upload = uploads.publish(system.app_id, str(file), key="cats/1.jpg")
        result = upload.wait(timeout=LONG)
        assert result.url == (system.store / "cats/1.jpg").as_uri()
        assert (system.store / "cats/1.jpg").read_bytes() == file.read_bytes()
        assert (result.bytes, result.request_id) == (file.stat().st_size, upload.id)
        assert upload.wait(timeout=0) == result, "asked again, it is known"
        again = uploads.publish(system.app_id, file, key="cats/1.jpg")
        assert again.id == upload.id
        assert again.wait(timeout=LONG).url == result.url
        # The first look listens for a quarter of a second: too short for a worker that is kept waiting.
        wait_until(lambda: bool(uploads.status(system.app_id).workers), LONG, system.logs)
        status = uploads.status(system.app_id)
        assert (status.ready, status.dead, status.workers, status.consumers) == (0, 0, {"ready": 1}, 1)
        assert status.slots == 4


def test_a_dead_upload_says_why_is_listed_and_is_retried(system: System) -> None:
    file = system.sources / "late.bin"
    file.write_bytes(b"late")
    with client_of(system) as uploads:
        upload = uploads.publish(system.app_id, file, key="late.bin")
        file.unlink()
        system.start("worker", "--app", system.app_id)
        with pytest.raises(UploadFailed, match=r"late\.bin") as caught:
            upload.wait(timeout=LONG)
        (dead,) = uploads.dead(system.app_id)
        assert (dead.id, dead.reason) == (upload.id, caught.value.reason)
        assert dead.request is not None
        assert dead.request.key == "late.bin"
        wait_until(lambda: uploads.status(system.app_id).dead == 1, LONG, lambda: "looking leaves it there")
        assert uploads.retry(system.app_id, "another") == 0
        wait_until(lambda: uploads.retry(system.app_id, all=True) == 1, LONG, str)
        wait_until(lambda: len(uploads.dead(system.app_id)) == 1, LONG, str)  # it fails again


def test_many_are_published_from_any_iterable_with_progress(system: System) -> None:
    files = make_files(system, 300)
    system.start("worker", "--app", system.app_id)
    told: list[PublishCounts] = []
    here = threading.current_thread()

    def requests(numbers: range) -> Iterator[UploadRequest]:
        for number in numbers:
            assert threading.current_thread() is here, "a program's own iterable stays in its thread"
            uri = files[number].as_uri()
            yield UploadRequest(app_id=system.app_id, type="file", uri=uri, key=files[number].name)

    async def slowly(numbers: range) -> AsyncIterator[UploadRequest]:
        for one in requests_of(numbers):
            await asyncio.sleep(0)
            yield one

    def requests_of(numbers: range) -> list[UploadRequest]:
        return [
            UploadRequest(app_id=system.app_id, type="file", uri=files[n].as_uri(), key=files[n].name)
            for n in numbers
        ]

    with client_of(system) as uploads:
        counts = uploads.publish_many(
            system.app_id, requests(range(150)), wait=True, timeout=LONG, progress=told.append
        )
        assert (counts.published, counts.stored, counts.complete) == (150, 150, True)
        assert told[-1] == counts
        rest = uploads.publish_many(system.app_id, slowly(range(150, 300)), wait=True, timeout=LONG)
        assert (rest.published, rest.stored) == (150, 150)
        assert len(system.stored()) == 300
        incomplete = uploads.publish_many(system.app_id, [files[0]], wait=True, timeout=0)
        # It may be stored, and its answer be there, just before the time is over.
        counted = (1,) if incomplete.complete else (0, 1)
        assert incomplete.stored in counted, "no error, and nothing counted that is not"


def test_what_a_program_gave_before_its_error_is_published(system: System) -> None:
    told: list[PublishCounts] = []

    def uris() -> Iterator[str]:
        yield from (f"https://example.org/{number}" for number in range(450))
        raise OSError("the disk is gone")

    with client_of(system) as uploads:
        for wait in (False, True):
            with pytest.raises(OSError, match="the disk is gone"):
                uploads.publish_many(system.app_id, uris(), wait=wait, progress=told.append)
        with pytest.raises(MessageError, match="/nothing/there"):
            uploads.publish_many(system.app_id, ["https://example.org/1", "/nothing/there"])
        assert uploads.status(system.app_id).ready == 901


FORKING = """
import os, sys
from upswell import Client, UpswellError

app, file = sys.argv[1:]
uploads = Client()
if os.fork() == 0:  # not used yet: each process connects by itself
    uploads.publish(app, file, key="child")
    os._exit(0)
uploads.publish(app, file, key="parent")
assert os.wait()[1] == 0
if os.fork() == 0:
    try:
        uploads.publish(app, file, key="too late")
    except UpswellError as error:
        print(error, flush=True)
    uploads.close()
    os._exit(0)
os.wait()
uploads.publish(app, file, key="afterwards")
print(uploads.status(app).ready)
"""


def test_a_client_is_made_before_a_fork_and_used_after_it(system: System) -> None:
    (file,) = make_files(system, 1)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, system.app_id, str(file)],
        env=system.environment,
        cwd=system.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr  # which may hold a warning on a busy machine
    error, ready = done.stdout.splitlines()
    assert error.endswith("make one in each process, after the fork")
    assert ready == "3"


def test_any_number_of_threads_may_share_a_client(system: System) -> None:
    files = make_files(system, 200)
    system.start("worker", "--app", system.app_id)

    def upload(uploads: Client, file: Path) -> str | None:
        return uploads.publish(system.app_id, file, key=file.name).wait(timeout=LONG).url

    with client_of(system) as uploads, ThreadPoolExecutor(20) as pool:
        urls = set(pool.map(upload, itertools.repeat(uploads), files))
    assert urls == {(system.store / file.name).as_uri() for file in files}
    assert len(system.stored()) == 200


def test_a_coroutine_publishes_and_waits_for_many_at_once(system: System) -> None:
    files = make_files(system, 100)
    system.start("worker", "--app", system.app_id)

    async def upload(uploads: AsyncClient, file: Path) -> str | None:
        return (await (await uploads.publish(system.app_id, file, key=file.name)).wait(LONG)).url

    async def work() -> None:
        async with AsyncClient(**overrides(system)) as uploads:
            urls = await asyncio.gather(*(upload(uploads, file) for file in files))
            assert set(urls) == {(system.store / file.name).as_uri() for file in files}
            counts = await uploads.publish_many(system.app_id, iter(files), wait=True, timeout=LONG)
            assert counts.stored == 100

    asyncio.run(work())


@pytest.mark.slow
def test_an_upload_whose_reply_never_comes_is_found_in_the_destination(system: System) -> None:
    """By a worker of somebody else's, which tells nobody, or because the broker was restarted."""
    (file,) = make_files(system, 1)

    async def store_silently() -> None:
        broker = open_broker(client_of(system).settings, name="foreign")
        await broker.connect()
        delivery = await broker.get(f"{system.app_id}_upload")
        assert delivery is not None
        system.store.mkdir(exist_ok=True)
        (system.store / json.loads(delivery.body)["key"]).write_bytes(file.read_bytes())
        broker.ack(delivery)
        await broker.close()

    with client_of(system) as uploads:
        upload = uploads.publish(system.app_id, file, key=file.name)
        asyncio.run(store_silently())
        result = upload.wait(timeout=LONG)
    assert (result.url, result.response_time) == ((system.store / file.name).as_uri(), None)


@contextmanager
def node_of_our_own(folder: Path) -> Iterator[RabbitNode]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with RabbitNode(folder) as node:
        yield node


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_a_restart_of_the_broker_loses_no_upload_and_leaves_nobody_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        node_of_our_own(tmp_path / "node") as node,
        System(tmp_path / "s", broker_url=node.url, app_id=f"p{next(_numbers)}") as system,
        caplog.at_level(logging.INFO, "upswell"),
    ):
        files = make_files(system, 400)
        system.start("worker", "--app", system.app_id)
        with client_of(system) as uploads, ThreadPoolExecutor(8) as pool:

            def publish(file: Path) -> UploadHandle:
                time.sleep(0.02)
                return uploads.publish(system.app_id, file, key=file.name)

            publishing = [pool.submit(publish, file) for file in files]
            for _ in range(2):
                publishing[len(publishing) // 3].result()
                node.restart()
            handles = [one.result(timeout=LONG) for one in publishing]
            urls = {handle.wait(timeout=LONG).url for handle in handles}
        assert urls == {(system.store / file.name).as_uri() for file in files}
        assert len(system.stored()) == 400
        assert any(line.startswith("broker.connection_lost connection=client-") for line in caplog.messages)


def test_a_program_prints_nothing_and_ends_without_closing_its_client(system: System) -> None:
    (file,) = make_files(system, 1)
    script = (
        "import sys; from upswell import Client; uploads = Client(); "
        f"uploads.publish({system.app_id!r}, {str(file)!r}, key='k'); uploads.status({system.app_id!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=system.environment,
        cwd=system.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with client_of(system) as uploads:
        assert uploads.status(system.app_id).ready == 1
