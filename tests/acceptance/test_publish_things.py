"""`upswell publish` of directories, stores and web addresses, started as a user does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from conftest import skip_or_fail
from support import s3_server
from support.system import System, wait_until
from upswell.messages import UploadRequest, decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRANGE = {
    b"a b.jpg": b"x" * 1000,
    "grüße/ü.jpg".encode(): b"composed",
    "grüße/u\u0308.jpg".encode(): b"decomposed",
    b"50% off?#.jpg": b"percent",
    b"raw/back\\slash.cr2": b"backslash",
    b"raw/.git/config": b"hidden",
    b"-dash": b"dash",
    b"empty": b"",
    b"/".join(b"d%d" % depth for depth in range(100)) + b"/deep": b"deep",
}
"""Names that are keys as they are."""

REFUSED = {b"new\nline.jpg": b"newline", b"not\xffutf-8": b"latin"}
"""Names that can be no key, for the rules in docs/uploads.md."""


@pytest.fixture
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    on_rabbitmq = getattr(request, "param", "sqlite") == "rabbitmq"
    url = request.getfixturevalue("rabbitmq") if on_rabbitmq else ""
    with System(tmp_path, broker_url=url, app_id=f"things{uuid4().hex[:8]}") as made:
        yield made


on_both_brokers = pytest.mark.parametrize(
    "system", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)


def fill(system: System, files: dict[bytes, bytes]) -> None:
    for name, body in files.items():
        path = system.sources / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def stored(system: System) -> dict[bytes, bytes]:
    found = (path for path in system.store.rglob("*") if path.is_file() and ".upswell-tmp" not in path.parts)
    return {os.fsencode(path.relative_to(system.store)): path.read_bytes() for path in found}


def publish(
    system: System, *arguments: str, status: int = 0, feed: bytes | None = None
) -> tuple[dict[str, Any], str]:
    """Run `upswell publish --json`; return its summary, the last line, and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", "upswell", "publish", "--app", system.app_id, "--json", *arguments],
        env=system.environment,
        cwd=system.folder,
        input=feed if feed is not None else b"",
        capture_output=True,
        timeout=120,
        check=False,
    )
    errors = done.stderr.decode()
    assert done.returncode == status, errors + done.stdout.decode() + system.logs()
    lines = done.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else {}), errors


def dry_run(system: System, *arguments: str, feed: bytes | None = None) -> list[UploadRequest]:
    """Return what `upswell publish --dry-run --json` lists."""
    done = subprocess.run(
        [sys.executable, "-m", "upswell", "publish", "--app", system.app_id, "-n", "--json", *arguments],
        env=system.environment,
        cwd=system.folder,
        input=feed if feed is not None else b"",
        capture_output=True,
        timeout=120,
        check=True,
    )
    return [decode(UploadRequest, line) for line in done.stdout.splitlines()]


@on_both_brokers
def test_a_directory_is_stored_whatever_its_names_and_again_sends_nothing(system: System) -> None:
    fill(system, STRANGE)
    (system.sources / "link").symlink_to("empty")
    os.mkfifo(system.sources / "fifo")
    system.start("worker", "--app", system.app_id)
    summary, errors = publish(system, "--wait", str(system.sources))
    assert (summary["stored"], summary["dead"], summary["skipped"]) == (len(STRANGE), 0, 0)
    assert summary["stored_bytes"] == summary["found_bytes"] == sum(map(len, STRANGE.values()))
    assert summary["passed_over"] == {"link": 1, "special": 1}
    assert f"skipped {system.sources}/link: symbolic links are not followed" in errors
    assert stored(system) == STRANGE
    again, _ = publish(system, "--wait", str(system.sources))
    assert (again["published"], again["skipped"]) == (0, len(STRANGE))


def test_names_that_cannot_be_keys_are_told_and_fail_the_command_and_the_others_are_stored(
    system: System,
) -> None:
    fill(system, {**REFUSED, b"good": b"good"})
    system.start("worker", "--app", system.app_id)
    summary, errors = publish(system, "--wait", str(system.sources), status=1)
    assert (summary["stored"], summary["passed_over"]) == (1, {"refused": 2})
    assert "an object's key must have no control characters, got 'new\\nline.jpg'" in errors
    assert "an object's key must be valid Unicode, got 'not\\udcffutf-8'" in errors
    # By a list, where the worker chooses the key, they are stored as well.
    names = b"".join(os.fsencode(system.sources / os.fsdecode(name)) + b"\0" for name in REFUSED)
    summary, _ = publish(system, "--wait", "-0", "-", feed=names)
    assert summary["stored"] == 2
    assert sorted(stored(system).values()) == sorted([b"good", *REFUSED.values()])


def test_patterns_choose_what_is_listed_and_a_dry_run_sends_nothing(system: System) -> None:
    fill(system, STRANGE)
    found = dry_run(
        system, "--include", "*.jpg", "--include", "raw/", "--exclude", ".git/", str(system.sources)
    )
    assert [(request.key, request.size_bytes, request.type) for request in found] == [
        ("50% off?#.jpg", 7, "image/jpeg"),
        ("a b.jpg", 1000, "image/jpeg"),
        ("grüße/u\u0308.jpg", 10, "image/jpeg"),
        ("grüße/ü.jpg", 8, "image/jpeg"),
        ("raw/back\\slash.cr2", 9, "file"),
    ]
    system.start("worker", "--app", system.app_id)
    summary, _ = publish(system, "--wait", feed=b"")  # had anything been sent, it would be stored before
    assert (summary["published"], stored(system)) == (0, {})


def test_what_changed_or_is_gone_is_sent_again_and_nothing_else(system: System) -> None:
    fill(system, {b"same": b"same", b"changed": b"one", b"lost": b"lost", b"touched": b"touched"})
    system.start("worker", "--app", system.app_id)
    publish(system, "--wait", str(system.sources))
    (system.sources / "changed").write_bytes(b"two")
    os.utime(system.sources / "touched")
    (system.store / "lost").unlink()
    assert sorted(str(request.key) for request in dry_run(system, str(system.sources))) == ["changed", "lost"]
    summary, _ = publish(system, "--wait", str(system.sources))
    assert (summary["stored"], summary["skipped"]) == (2, 2)
    assert (system.store / "changed").read_bytes() == b"two"
    assert (system.store / "lost").read_bytes() == b"lost"


def test_verify_finds_a_corrupted_and_a_missing_object(system: System) -> None:
    fill(system, {b"good": b"good", b"bad": b"bad", b"denied": b"denied"})
    system.start("worker", "--app", system.app_id)
    summary, _ = publish(system, "--verify", str(system.sources))
    assert summary["verified"] == {"checked": 3, "wrong": 0, "by": "destination", "findings": []}
    (system.store / "bad").write_bytes(b"bed")
    # A request of a person's own that is dead-lettered has no object.
    lines = f"file://{system.sources}/good\nfile://{system.sources}/bad\n".encode()
    mine = {"type": "strange", "uri": (system.sources / "denied").as_uri(), "key": "mine", "id": "mine"}
    for arguments, feed, wrong in (
        ((str(system.sources),), None, [("differs", "bad")]),
        ((), json.dumps(mine).encode(), [("missing", "mine")]),
    ):
        summary, errors = publish(system, "--verify", *arguments, feed=feed, status=1)
        found = [(one["difference"], one["key"]) for one in summary["verified"]["findings"]]
        assert (found, summary["verified"]["wrong"]) == (wrong, 1)
        assert f"{wrong[0][0]} {wrong[0][1]}: " in errors
    summary, _ = publish(system, "--verify", "--fresh", str(system.sources))
    assert (summary["stored"], summary["verified"]["wrong"]) == (3, 0)
    assert publish(system, "--verify", feed=lines)[0]["verified"]["wrong"] == 0


def test_verify_is_refused_where_the_handler_stores_other_bytes(system: System) -> None:
    _, errors = publish(system, "--verify", "--handler", "mine:f", str(system.sources), status=1)
    assert errors.startswith("error: --verify needs the handler up")


@on_both_brokers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_interrupted_and_run_again_only_what_is_not_stored_is_sent(system: System, number: int) -> None:
    count = 400
    fill(system, {b"%03d" % n: b"%d\n" % n * 500 for n in range(count)})
    system.environment["UPSWELL_UPLOAD_RATE_LIMIT"] = "40000"  # bytes/s: twenty seconds in all
    system.start("worker", "--app", system.app_id)
    command = system.start("publish", "--app", system.app_id, "--wait", "--json", str(system.sources))
    log = system.folder / "publish.log"

    def is_under_way() -> bool:
        """Some are stored, and it was told so."""
        return len(stored(system)) >= 50 and bool(re.search(r"(?m)^[1-9]\d* stored, ", log.read_text()))

    wait_until(is_under_way, 60, system.logs)
    command.send_signal(number)
    assert len(stored(system)) < count, "it was over before it was interrupted"
    ended = command.wait(60)
    if number == signal.SIGKILL:
        assert ended == -number
    else:
        assert ended == 128 + signal.SIGINT
        text = log.read_text()
        summary = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
        assert summary["end"] == "interrupted"
        assert summary["stored"] >= 1
        # What was on its way to the broker is outstanding, and not known to be published.
        assert summary["published"] <= summary["stored"] + summary["outstanding"] <= count
        assert "interrupted: run the same command again" in text
    before = len(stored(system))
    summary, _ = publish(system, "--verify", str(system.sources))
    assert summary["skipped"] >= before - 4  # what a killed command was not told of is compared, not sent
    assert summary["skipped"] + summary["stored"] == count
    assert summary["verified"]["wrong"] == 0
    assert len(stored(system)) == count


def test_files_that_vanish_or_change_between_listing_and_upload_end_well(system: System) -> None:
    fill(system, {b"stays": b"stays", b"vanishes": b"vanishes", b"grows": b"grows"})
    publish(system, str(system.sources))  # nobody works yet
    (system.sources / "vanishes").unlink()
    (system.sources / "grows").write_bytes(b"grows and grows")
    system.environment["UPSWELL_RETRY_BACKOFF"] = "0.05"
    system.start("worker", "--app", system.app_id)
    wait_until(lambda: system.dead_count() == 2 and b"stays" in stored(system), 60, system.logs)
    reasons = system.dead()
    assert "the source does not exist" in reasons["vanishes"]
    assert "the source has 15 bytes, the request says 5" in reasons["grows"]
    summary, _ = publish(system, "--verify", str(system.sources))
    assert (summary["stored"], summary["skipped"], summary["verified"]["wrong"]) == (1, 1, 0)
    assert stored(system) == {b"stays": b"stays", b"grows": b"grows and grows"}


@pytest.fixture
def web(system: System) -> Iterator[str]:
    """Serve the sources over HTTP, and allow workers to read there."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(system.sources))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        system.environment |= {
            "UPSWELL_SOURCE_ORIGINS": address,
            "UPSWELL_SOURCE_NETWORKS": "127.0.0.0/8",
        }
        yield address
        server.shutdown()


def test_a_list_of_web_addresses_has_sizes_and_is_sent_once(system: System, web: str) -> None:
    fill(system, {b"one": b"1" * 100, b"two": b"2" * 200})
    lines = f"{web}/one\n{web}/two\n".encode()
    assert [request.size_bytes for request in dry_run(system, feed=lines)] == [100, 200]
    system.start("worker", "--app", system.app_id)
    summary, _ = publish(system, "--verify", feed=lines)
    assert (summary["stored"], summary["stored_bytes"], summary["verified"]["wrong"]) == (2, 300, 0)
    (system.sources / "two").write_bytes(b"changed")
    summary, _ = publish(system, "--wait", feed=lines)
    assert (summary["stored"], summary["skipped"]) == (1, 1)
    # Where this machine may not look, the worker says what is wrong.
    system.environment["UPSWELL_SOURCE_ORIGINS"] = ""
    assert [request.size_bytes for request in dry_run(system, feed=lines)] == [None, None]


def test_a_prefix_of_s3_is_copied_to_another_and_verified(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reason = s3_server.missing("seaweedfs")
    if reason:
        skip_or_fail(reason)
    with s3_server.s3_server("seaweedfs", tmp_path_factory.mktemp("s3")) as endpoint:
        system.environment |= {
            **s3_server.environment(),
            "UPSWELL_STORE_ENDPOINT": endpoint,
            "UPSWELL_SOURCE_STORES": "s3://bucket/in",
            "UPSWELL_DESTINATION": "s3://bucket/out",
        }
        client = s3_server.client(endpoint)
        bodies = {"in/small": b"small", "in/sub/ü 1": b"unicode", "in/large": os.urandom(20 * 1024 * 1024)}
        for key, body in bodies.items():
            client.put_object(Bucket=s3_server.BUCKET, Key=key, Body=body)
        found = dry_run(system, "s3://bucket/in/")
        assert {f"in/{one.key}": one.size_bytes for one in found} == {k: len(v) for k, v in bodies.items()}
        listed = dry_run(system, feed=b"s3://bucket/in/small\n")
        assert [one.size_bytes for one in listed] == [5]
        # `up`, so that the workers have to be given the credentials.
        up = system.start("up")
        summary, _ = publish(system, "--verify", "s3://bucket/in/")
        assert (summary["stored"], summary["verified"]["wrong"]) == (3, 0)
        client.delete_object(Bucket=s3_server.BUCKET, Key="out/small")
        summary, _ = publish(system, "--verify", "s3://bucket/in/")
        assert (summary["stored"], summary["skipped"], summary["verified"]["wrong"]) == (1, 2, 0)
        for key, body in bodies.items():
            there = client.get_object(Bucket=s3_server.BUCKET, Key=key.replace("in/", "out/", 1))
            assert there["Body"].read() == body
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, system.logs()


@on_both_brokers
def test_a_folder_published_again_while_its_large_files_are_under_way_is_stored_once(
    system: System, endpoint: str
) -> None:
    system.environment |= {
        **s3_server.environment(),
        "UPSWELL_STORE_ENDPOINT": endpoint,
        "UPSWELL_DESTINATION": "s3://bucket/out",
        "UPSWELL_SLOTS": "1",
        "UPSWELL_UPLOAD_RATE_LIMIT": str(640 * 1024),  # so slow that a busy machine looks in time
    }
    fill(system, {b"large": os.urandom(24 * 1024 * 1024)})
    for _ in range(2):
        system.start("worker", "--app", system.app_id)
    first = system.start("publish", "--app", system.app_id, "--wait", str(system.sources))
    wait_until(lambda: "out/large" in s3_server.unfinished(endpoint), 90, system.logs)
    summary, _ = publish(system, "--wait", str(system.sources))
    assert first.wait(90) == 0, system.logs()
    assert (summary["published"], summary["stored"], summary["dead"]) == (1, 1, 0)
    assert summary["failed_attempts"] == 0, system.logs()
    log = (system.folder / "worker.log").read_text()
    assert "store.waits_for_turn" in log
    assert "store.parts_removed" not in log
    assert s3_server.unfinished(endpoint) == []
    body = s3_server.client(endpoint).get_object(Bucket=s3_server.BUCKET, Key="out/large")["Body"].read()
    assert body == (system.sources / "large").read_bytes()
