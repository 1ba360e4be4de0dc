"""`upswell find`: one upload in each of its states, on both brokers; looking changes nothing."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.system import System, wait_until
from support.terminal import Terminal, holds_to
from upswell import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = ("--slots", "4", "--upload-rate-limit", "2000")


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        yield made


def find(system: System, wanted: object) -> dict[str, Any]:
    done = system.run("find", str(wanted), "--json", check=False)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["found"] else 1)
    return told


def states(system: System, wanted: object) -> list[str]:
    return [sighting["state"] for sighting in find(system, wanted)["found"]]


@pytest.mark.slow
def test_an_upload_is_found_in_the_queue_in_a_workers_hand_and_in_the_store(system: System) -> None:
    requests = system.make_requests(4, size=100_000)
    begun = time.time()
    system.publish(requests)
    told = find(system, "00003.bin")
    (queued,) = told["found"]
    assert (queued["state"], queued["uri"]) == ("queued", f"file://{system.sources / '00003.bin'}")
    assert begun <= queued["since"] <= time.time()
    if system.broker_url:  # it shows nothing without taking it: the publisher's record knows what was sent
        assert queued["by_record"] is True
        assert "4 wait in" in told["notes"][0]
    else:
        assert (queued["position"], queued["attempt"]) == (4, 1)
        assert "by_record" not in queued
    assert states(system, queued["request_id"]) == ["queued"]
    assert states(system, queued["uri"]) == ["queued"]
    slow = system.start("worker", "--app", system.app_id, *SLOW)
    seen: list[dict[str, Any]] = []

    def is_running() -> bool:
        seen[:] = find(system, "00003.bin")["found"]
        return [one["state"] for one in seen] == ["running"]  # and not queued besides

    wait_until(is_running, 90, system.logs)
    (running,) = seen
    assert running["worker_id"]
    assert (running["key"], running["attempt"]) == ("00003.bin", 1)
    slow.kill()
    system.start("worker", "--app", system.app_id)
    wait_until(lambda: system.stored_count() == 4, 90, system.logs)
    # It lies there a moment before its worker, who reports it first, has it out of hand.
    wait_until(lambda: states(system, "00003.bin") == ["stored"], 60, system.logs)
    (stored,) = find(system, "00003.bin")["found"]
    assert (stored["state"], stored["bytes"]) == ("stored", (system.store / "00003.bin").stat().st_size)
    assert stored["address"] == f"file://{system.store / '00003.bin'}"
    assert states(system, system.sources / "00003.bin") == ["stored"]


@pytest.mark.slow
@pytest.mark.parametrize("record", [True, False])
def test_what_a_client_sent_is_found_where_it_was_asked_to_note_it(system: System, *, record: bool) -> None:
    system.make_requests(3, size=100)
    state_dir = system.environment["UPSWELL_STATE_DIR"]
    one, *more = sorted(system.sources.iterdir())
    with Client(
        broker_url=system.broker_url, state_dir=state_dir, source_roots=[str(system.sources)], record=record
    ) as client:
        upload = client.publish(system.app_id, one, key="one.bin")
        client.publish_many(system.app_id, more)
        if record:  # a web application goes on for weeks
            wait_until(lambda: states(system, "one.bin") == ["queued"], 60, system.logs)
    is_seen = record or not system.broker_url  # the embedded broker's queue can be looked through
    expected = ["queued"] if is_seen else []
    assert states(system, "one.bin") == states(system, upload.id) == states(system, more[1]) == expected
    if record:
        assert {one["uri"] for one in find(system, more[1])["found"]} == {more[1].as_uri()}


@pytest.mark.slow
def test_what_was_deleted_from_the_queue_or_lost_from_it_is_not_said_to_be_queued(system: System) -> None:
    system.publish(system.make_requests(4, size=100))
    ids = [find(system, f"0000{number}.bin")["found"][0]["request_id"] for number in range(4)]
    system.run("cancel", "--app", system.app_id, "--yes", ids[0])
    assert states(system, "00000.bin") == []
    assert states(system, "00001.bin") == ["queued"]
    record = system.folder / "state" / "stored.sqlite"
    kept = record.read_bytes()
    system.run("purge", "--yes", system.app_id)
    assert states(system, "00001.bin") == []
    record.write_bytes(kept)  # as if another machine had purged it
    assert states(system, "00001.bin") == ["sent"]
    assert "and was seen nowhere since" in system.run("find", "--app", system.app_id, "00001.bin").stdout


def test_a_dead_upload_tells_why_and_looking_at_it_changes_nothing(system: System) -> None:
    requests = system.make_requests(3, size=100)
    (system.sources / "00001.bin").unlink()
    (system.sources / "00002.bin").unlink()
    system.publish(requests)
    worker = system.start("worker", "--app", system.app_id)
    wait_until(lambda: len(system.dead()) == 2, 60, system.logs)
    worker.terminate()
    worker.wait()
    before = system.dead()
    # What we took to look at it is back a moment later.
    wait_until(lambda: states(system, "00002.bin") == ["dead"], 60, system.logs)
    for _ in range(3):
        (dead,) = find(system, "00002.bin")["found"]
        assert dead["state"] == "dead"
        assert "00002.bin" in dead["reason"]
        assert dead["since"] > 1e9
    assert states(system, "nowhere.bin") == []
    (dead,) = find(system, "00002.bin")["found"]
    assert states(system, dead["request_id"]) == ["dead"]
    assert list(system.dead().items()) == list(before.items())


def test_a_file_published_by_its_name_is_found_by_its_path_and_its_checksum_is_told(system: System) -> None:
    (system.folder / "cats").mkdir()
    cat = system.folder / "cats" / "a cat.jpg"
    cat.write_bytes(b"meow" * 100)
    system.environment["UPSWELL_SOURCE_ROOTS"] = str(system.folder)
    system.start("worker", "--app", system.app_id)
    system.run("publish", "--app", system.app_id, "--wait", "cats")
    # The publisher is answered a moment before the worker has it out of hand.
    wait_until(lambda: states(system, "cats/a cat.jpg") == ["stored"], 60, system.logs)
    (stored,) = find(system, "cats/a cat.jpg")["found"]
    assert (stored["state"], stored["key"], stored["bytes"]) == ("stored", "a cat.jpg", 400)
    assert stored["checksum"].startswith("sha256:")
    assert states(system, stored["request_id"]) == ["stored"]
    (system.store / "a cat.jpg").unlink()
    assert states(system, stored["request_id"]) == ["lost"]


@pytest.mark.parametrize("width", [80, 120])
def test_what_find_shows_is_clear(width: int) -> None:
    # Its name is always as long, so that lines wrap where they did.
    with (
        TemporaryDirectory(prefix="u", dir="/tmp") as folder,
        System(Path(folder), app_id="photos") as system,
    ):
        requests = system.make_requests(3, size=1000)
        (system.sources / "00001.bin").unlink()
        system.publish(requests)
        worker = system.start("worker", "--app", "photos")
        wait_until(lambda: (system.stored_count(), system.dead_count()) == (2, 1), 60, system.logs)
        worker.terminate()
        worker.wait()
        (system.sources / "00009.bin").write_bytes(b"x")
        system.run("publish", "--app", "photos", str(system.sources / "00009.bin"))
        messages = "SELECT * FROM messages ORDER BY id"
        with sqlite3.connect(system.folder / "state" / "broker.sqlite") as broker:
            before = broker.execute(messages).fetchall()
        with Terminal(system.environment, system.folder, width=width) as terminal:
            shown = [
                terminal.run(f"upswell find {wanted}").text
                for wanted in ("00000.bin", "00001.bin", "sources/00009.bin", "nowhere.bin")
            ]
            assert terminal.colour_of("no upload") == "default"
        with sqlite3.connect(system.folder / "state" / "broker.sqlite") as broker:
            assert broker.execute(messages).fetchall() == before
        varying = {
            re.escape(folder): "/tmp/uFOLDERXX",
            r"\b[0-9a-f]{32}\b": "ID",
            r"(?m)\(\d+ (s|min)\), attempt 1$": "(N s), attempt 1",
            r"(?m)\(\d+ (s|min) ago\)$": "(N s ago)",
            r"\d+ B": "N B",
            r"on photos-\S+": "on WORKER",
        }
        holds_to(f"find-{width}", "\n".join(shown), varying)
