"""What is known of things before they are sent: sizes, versions, and whether they are stored."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from upswell.publisher.already_stored import AlreadyStored
from upswell.publisher.items import Thing, request_of
from upswell.publisher.sources import Candidate
from upswell.publisher.stored_record import StoredRecord
from upswell.requests import key_of
from upswell.settings import Settings
from upswell.stores.addresses import file_uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upswell.messages import UploadRequest

CHECKSUM = "sha256:" + "0" * 64


@pytest.fixture
def record(tmp_path: Path) -> Iterator[StoredRecord]:
    with StoredRecord(tmp_path / "stored.sqlite", "e1") as made:
        yield made


def candidate(thing: Thing) -> Candidate:
    return Candidate(request_of(thing, app_id="e1"), thing)


def of_file(path: Path) -> Candidate:
    return candidate(Thing(uri=file_uri(str(path)), key=path.name, size=path.stat().st_size, version="1"))


def are_stored(known: AlreadyStored, *candidates: Candidate) -> list[bool]:
    return asyncio.run(known.are_stored(candidates))


def test_an_object_of_the_same_size_is_compared_unless_a_worker_told_that_it_is_stored(
    tmp_path: Path, record: StoredRecord
) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"one")
    (tmp_path / "store").mkdir()
    one = of_file(source)
    with AlreadyStored(Settings(destination=str(tmp_path / "store")), record) as known:
        assert are_stored(known, one) == [False]
        (tmp_path / "store/a").write_bytes(b"one")
        assert are_stored(known, one) == [True]
        (tmp_path / "store/a").write_bytes(b"two")
        assert are_stored(known, one) == [False]
        record.add(one.request.id or "", 3, CHECKSUM)
        assert are_stored(known, one) == [True]  # `--verify` reads it all the same
        (tmp_path / "store/a").write_bytes(b"longer")
        assert are_stored(known, one) == [False]
        (finding,) = asyncio.run(known.verify([one.request]))
        assert (finding.difference, finding.key) == ("differs", "a")


def test_looking_makes_no_folder(tmp_path: Path, record: StoredRecord) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"one")
    with AlreadyStored(Settings(destination=str(tmp_path / "store")), record) as known:
        assert are_stored(known, of_file(source)) == [False]
        assert not (tmp_path / "store").exists()
        (tmp_path / "store").mkdir()  # by the first worker
        (tmp_path / "store/a").write_bytes(b"one")
        assert asyncio.run(known.verify([of_file(source).request])) == []


@pytest.mark.parametrize("handler", ["upload", "mine:f"])
def test_what_may_have_changed_unseen_and_what_a_person_wrote_are_always_sent(
    tmp_path: Path, record: StoredRecord, handler: str
) -> None:
    unknown = candidate(Thing(uri="https://example.org/a", size=3))
    known_version = candidate(Thing(uri="https://example.org/b", size=3, version="v1"))
    written = Candidate(replace(known_version.request, id="mine", key="k"))
    for one in (unknown, known_version, written):
        record.add(one.request.id or "", 3, CHECKSUM)
        path = tmp_path / "store" / key_of(one.request)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"one")
    settings = Settings(destination=str(tmp_path / "store"), handler=handler)
    with AlreadyStored(settings, record) as known:
        assert are_stored(known, unknown, known_version, written) == [False, True, False]


def test_a_record_compares_by_what_workers_told(tmp_path: Path, record: StoredRecord) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"one")
    request = of_file(source).request
    elsewhere = Settings(broker_url="amqp://host/")  # its workers' own folder is not here
    with AlreadyStored(elsewhere, record) as known:
        assert not known.asks_destination

        def difference(request: UploadRequest) -> list[str]:
            return [finding.difference for finding in asyncio.run(known.verify([request]))]

        right = known.read_source(request.uri).checksum
        assert difference(request) == ["missing"]
        record.add(request.id or "", 3, None)
        assert difference(request) == ["unknown"]
        record.add(request.id or "", 3, CHECKSUM)
        assert difference(request) == ["differs"]
        record.add(request.id or "", 3, right)
        assert difference(request) == []
        source.unlink()
        assert difference(request) == ["unreadable"]


def test_a_web_server_that_does_not_answer_is_not_asked_again(record: StoredRecord) -> None:
    asked: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                asked.append(1)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = Settings(source_origins=[origin], source_networks=["127.0.0.0/8"], handler="mine:f")
        with AlreadyStored(settings, record) as known:
            first = candidate(Thing(uri=f"{origin}/a"))
            assert asyncio.run(known.look([first])) == [None]
            assert asked
            asked.clear()
            assert asyncio.run(known.look([first, candidate(Thing(uri=f"{origin}/b"))])) == [None, None]
            assert not asked
        server.shutdown(socket.SHUT_RDWR)
