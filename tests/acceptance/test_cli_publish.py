"""`upswell publish` and `upswell dead`, started as a user does, on both brokers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until
from upswell.journal import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}") as made:
        yield made


def feed(system: System, *arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run `upswell publish` with `text` on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "upswell", "publish", "--app", system.app_id, *arguments],
        env=system.environment,
        cwd=system.folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def as_lines(system: System, count: int) -> str:
    return system.make_requests(count, size=2000).read_text()


def dead_ids(system: System) -> list[str]:
    done = system.run("dead", "list", "--app", system.app_id, "--json")
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_publish_waits_until_all_is_stored(system: System) -> None:
    requests = system.make_requests(60, size=4000)
    system.start("worker", "--app", system.app_id)
    begun = time.monotonic()
    done = system.run("publish", "--app", system.app_id, str(requests), "--wait", "--json")
    took = time.monotonic() - begun
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["published"], summary["stored"], summary["dead"]) == (60, 60, 0)
    assert 0 < summary["p50_response_time"] <= summary["p95_response_time"] < took
    assert len(system.stored()) == 60


def test_publish_wait_exits_with_1_when_an_upload_is_dead_lettered(system: System) -> None:
    lines = as_lines(system, 3) + '{"type": "file", "uri": "file:///etc/passwd", "key": "x"}\n'
    system.start("worker", "--app", system.app_id)
    done = feed(system, "--wait", text=lines)
    assert done.returncode == 1, done.stderr
    assert "published 4" in done.stdout
    assert "stored 3, dead 1" in done.stdout


def test_publishing_a_file_again_stores_nothing_twice(system: System) -> None:
    """A crash half way is resumed by starting over: the same ids and keys, hence the same objects."""
    entries = [json.loads(line) for line in as_lines(system, 20).splitlines()]
    requests = system.folder / "bare.json"
    requests.write_text(json.dumps([{"type": e["type"], "uri": e["uri"]} for e in entries]))
    system.start("worker", "--app", system.app_id)
    for _ in range(2):
        system.run("publish", "--app", system.app_id, "--requests", str(requests), "--wait")
    objects = [path for path in system.store.rglob("*") if path.is_file()]
    assert len(objects) == 20
    system.run("publish", "--app", system.app_id, "--requests", str(requests), "--wait", "--fresh")
    objects = [path for path in system.store.rglob("*") if path.is_file()]
    assert len(objects) == 40


def test_a_mistake_in_a_file_is_found_before_anything_is_published(system: System) -> None:
    path = system.folder / "bad.jsonl"
    path.write_text(as_lines(system, 3) + '{"type": "file"}\n')
    done = system.run("publish", "--app", system.app_id, str(path), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: line 4: not a valid upload request: Object missing required field `uri`"
    )
    assert len(done.stderr.splitlines()) == 1
    # Had anything been published, a worker would now store it before what follows.
    system.start("worker", "--app", system.app_id)
    done = feed(system, "--wait", "--json", text="")
    assert json.loads(done.stdout)["published"] == 0
    assert system.stored_count() == 0


def test_a_mistake_in_a_stream_stops_it_and_says_how_many_were_published(system: System) -> None:
    done = feed(system, text=as_lines(system, 3) + "rubbish\n" + as_lines(system, 1))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: line 4: not a valid upload request")
    assert last.endswith("; 3 requests were published")


def test_a_stream_repeated_at_a_rate_is_published_so_often(system: System) -> None:
    system.start("worker", "--app", system.app_id)
    done = feed(system, "--wait", "--json", "--repeat", "3", "--rate", "50", text=as_lines(system, 5))
    assert json.loads(done.stdout.splitlines()[-1])["stored"] == 15, done.stderr


@pytest.mark.timeout(900)
def test_dead_letters_are_listed_unharmed_shown_retried_and_purged(system: System) -> None:
    """RabbitMQ 4 drops a message at its 20th return where nobody forbids it: looking must never harm."""
    missing = [system.sources / f"late-{n}.bin" for n in range(3)]
    lines = [json.dumps({"type": "file", "uri": path.as_uri(), "id": path.stem}) for path in missing]
    system.start("worker", "--app", system.app_id)
    done = feed(system, "--wait", text="\n".join(lines))
    assert done.returncode == 1
    order = dead_ids(system)
    assert sorted(order) == ["late-0", "late-1", "late-2"]
    for _ in range(24 if system.broker_url else 3):
        assert dead_ids(system) == order

    shown = system.run("dead", "show", "--app", system.app_id, "late-1").stdout
    assert "x-upswell-reason: " in shown
    assert "late-1.bin" in shown

    missing[1].write_bytes(b"here at last")
    system.start("monitor")
    reports = JournalReader(system.folder / "state" / "journal.sqlite").reports
    wait_until(lambda: len(list(reports())) == 3, 60, lambda: f"{list(reports())} {system.logs()}")
    system.run("dead", "retry", "--app", system.app_id, "late-1")
    feed(system, "--wait", text=as_lines(system, 1))
    # The worker has several slots: the retried one may still be in its hand.
    wait_until(lambda: any(system.store.rglob("late-1.bin")), 60, system.logs)
    assert dead_ids(system) == [name for name in order if name != "late-1"]
    assert [p.read_bytes() for p in system.store.rglob("late-1.bin")] == [b"here at last"]
    # The request has the same id and its attempt is the first again: its report counts all the same.
    wait_until(lambda: len(list(reports())) == 5, 60, lambda: f"{list(reports())} {system.logs()}")
    assert sorted(one.outcome for one in reports()) == [*["dead"] * 3, "stored", "stored"]

    refused = system.run("dead", "purge", "--app", system.app_id, check=False)
    assert f"permanently delete 2 requests from {system.app_id}_upload.dead?" in refused.stdout
    assert refused.returncode != 0
    assert "purged 2" in system.run("dead", "purge", "--app", system.app_id, "--yes").stdout
    assert dead_ids(system) == []


@pytest.mark.parametrize("system", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True)
def test_a_wrong_password_is_one_masked_line(system: System) -> None:
    system.environment["AMQPURL"] = system.broker_url.replace("guest:guest", "guest:wrong")
    for arguments in (["dead", "list", "--app", "e1"], ["status"], ["publish", "--app", "e1", "/dev/null"]):
        done = system.run(*arguments, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "wrong" not in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_publish_wait_counts_what_the_broker_itself_dead_lettered(system: System) -> None:
    """A request that kills its worker is never reported: the broker gives it up at its delivery limit."""
    (system.folder / "deadly.py").write_text(
        "import os\n\ndef upload(request):\n    if request.id == 'killer':\n        os._exit(1)\n"
    )
    system.environment |= {"PYTHONPATH": str(system.folder), "UPSWELL_DELIVERY_LIMIT": "2"}
    lines = [json.dumps({"type": "file", "uri": "file:///x", "id": name}) for name in ("harmless", "killer")]
    path = system.folder / "two.jsonl"
    path.write_text("\n".join(lines))
    publisher = system.start("publish", "--app", system.app_id, str(path), "--wait", "--json")
    worker = None
    give_up = time.monotonic() + 200
    while publisher.poll() is None and time.monotonic() < give_up:
        if worker is None or worker.poll() is not None:
            command = ("worker", "--app", system.app_id, "--handler", "deadly:upload", "--slots", "1")
            worker = system.start(*command)
        time.sleep(0.1)
    assert publisher.poll() == 1, system.logs()
    figures = next(line for line in system.said().splitlines() if line.startswith('{"published"'))
    summary = json.loads(figures)
    assert (summary["stored"], summary["dead"], summary["outstanding"]) == (1, 1, 0)


def test_dead_list_shows_the_same_letters_however_often_and_however_many_look(system: System) -> None:
    (system.folder / "bad.jsonl").write_text(as_lines(system, 40).replace("file://", "file:///nowhere"))
    system.start("worker", "--app", system.app_id)
    system.run("publish", "--app", system.app_id, "--wait", "--requests", "bad.jsonl", check=False)
    first = dead_ids(system)
    assert len(first) == 40
    with ThreadPoolExecutor(3) as lookers:
        looks = list(lookers.map(lambda _: dead_ids(system), range(6)))
    assert looks == [first] * 6
    assert system.run("dead", "show", "--app", system.app_id, first[7]).stdout.count("nowhere") > 0
    assert dead_ids(system) == first
