"""What a handler of one's own is given; and that it stops when it must."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import shutil
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.handlers.context import Context, Workplace
from upswell.handlers.own import OwnHandler
from upswell.handlers.protocol import Stored
from upswell.handlers.threads import Threads
from upswell.messages import UploadRequest
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = bytes(range(256)) * 4000


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(BODY)
    settings = Settings(source_roots=[str(tmp_path / "in")], destination=str(tmp_path / "store"))
    return Workplace(settings, Threads(2))


def request(tmp_path: Path, **fields: Any) -> UploadRequest:
    uri = (tmp_path / "in" / "file").as_uri()
    return UploadRequest(**{"app_id": "e1", "type": "file", "uri": uri, "id": "r", "key": "k", **fields})


def test_a_source_is_a_file_and_reading_is_progress(workplace: Workplace, tmp_path: Path) -> None:
    counts: list[int] = []
    context = Context(request(tmp_path), workplace, on_bytes=counts.append)
    with context.open_source() as source:
        assert source.size == len(BODY)
        assert source.read(10) == BODY[:10]
        assert source.read() == BODY[10:]
    assert sum(counts) == len(BODY)


def test_a_source_can_be_read_as_text_by_what_takes_files(workplace: Workplace, tmp_path: Path) -> None:
    (tmp_path / "in" / "file").write_text("a,b\n1,2\n")
    with Context(request(tmp_path), workplace).open_source() as source:
        assert list(csv.reader(io.TextIOWrapper(source))) == [["a", "b"], ["1", "2"]]


def test_what_is_stored_is_proven_and_the_same_again_changes_nothing(
    workplace: Workplace, tmp_path: Path
) -> None:
    context = Context(request(tmp_path), workplace)
    checksum = f"sha256:{hashlib.sha256(b'12345').hexdigest()}"
    expected = Stored("k.new", 5, checksum, (tmp_path / "store/k.new").as_uri())
    assert context.store(b"12345", "k.new") == expected
    written = (tmp_path / "store/k.new").stat().st_mtime_ns
    with tempfile.SpooledTemporaryFile() as made:
        made.write(b"12345")
        assert context.store(made, "k.new") == expected
    assert (tmp_path / "store/k.new").stat().st_mtime_ns == written
    assert context.store(b"1").key == "k"


@pytest.mark.parametrize("key", ["../x", "/x", "a\nb", ""])
def test_a_key_is_checked_whoever_names_it(workplace: Workplace, tmp_path: Path, key: str) -> None:
    with pytest.raises(PermanentUploadError, match="an object's key must"):
        Context(request(tmp_path), workplace).store(b"1", key)


def test_a_source_of_another_size_than_the_request_says_is_temporary(
    workplace: Workplace, tmp_path: Path
) -> None:
    context = Context(request(tmp_path, size_bytes=7), workplace)
    with (
        pytest.raises(TemporaryUploadError, match="bytes, the request says 7"),
        context.open_source(),
    ):
        pytest.fail("it was opened")


def test_a_source_that_changed_while_it_was_read_is_temporary(workplace: Workplace, tmp_path: Path) -> None:
    def read() -> None:
        with Context(request(tmp_path), workplace).open_source() as source:
            source.read()
            (tmp_path / "in" / "file").write_bytes(b"changed")

    with pytest.raises(TemporaryUploadError, match="changed during its upload"):
        read()


def test_no_other_source_is_opened_than_the_settings_allow(workplace: Workplace, tmp_path: Path) -> None:
    context = Context(request(tmp_path), workplace)
    with (
        pytest.raises(PermanentUploadError, match="is not below"),
        context.open_source("file:///etc/passwd"),
    ):
        pytest.fail("it was opened")


def test_a_stopped_context_raises_wherever_it_is_used(workplace: Workplace, tmp_path: Path) -> None:
    context = Context(request(tmp_path), workplace)

    def use() -> None:
        with context.open_source() as source:
            context.check()
            context.stop()
            assert context.is_stopped
            uses: list[Callable[[], Any]] = [
                context.check,
                lambda: context.progress(1),
                lambda: context.store(b"1"),
                source.read,
            ]
            for one in uses:
                with pytest.raises(TemporaryUploadError, match="the upload was stopped"):
                    one()

    use()


def test_seconds_left_count_down_to_the_time_limit(workplace: Workplace, tmp_path: Path) -> None:
    now = 100.0
    context = Context(request(tmp_path), workplace, monotonic=lambda: now)
    assert context.seconds_left == 900.0
    now = 1001.0
    assert context.seconds_left == -1.0


def call(function: Any, workplace: Workplace, tmp_path: Path) -> Any:
    return asyncio.run(OwnHandler(function, workplace, name="f")(request(tmp_path)))


def test_a_plain_function_gets_the_context_in_a_thread(workplace: Workplace, tmp_path: Path) -> None:
    def handle(request: UploadRequest, context: Context) -> Stored:
        assert threading.current_thread() is not threading.main_thread()
        assert context.request is request
        with context.open_source() as source:
            return context.store(source.read())

    assert call(handle, workplace, tmp_path).bytes == len(BODY)
    assert (tmp_path / "store/k").read_bytes() == BODY


def test_an_async_function_does_what_blocks_in_a_thread(workplace: Workplace, tmp_path: Path) -> None:
    async def handle(request: UploadRequest, *, context: Context) -> Stored:
        def work() -> Stored:
            with context.open_source() as source, tempfile.TemporaryFile() as made:
                shutil.copyfileobj(source, made)
                return context.store(made)

        return await context.in_thread(work)

    assert call(handle, workplace, tmp_path).bytes == len(BODY)


def test_a_plain_function_that_is_cancelled_stops_at_its_next_look(
    workplace: Workplace, tmp_path: Path
) -> None:
    """As at `upload_timeout`, at `drain_timeout`, and when a worker must leave at once."""
    started = threading.Event()

    def handle(_request: UploadRequest, context: Context) -> None:
        started.set()
        while True:
            context.check()
            time.sleep(0.001)

    async def scenario() -> None:
        task = asyncio.ensure_future(OwnHandler(handle, workplace, name="f")(request(tmp_path)))
        while not started.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(TemporaryUploadError, match="the upload was stopped"):
            await asyncio.wait_for(task, 60)

    asyncio.run(scenario())


def test_a_context_is_over_when_its_handler_has_returned(workplace: Workplace, tmp_path: Path) -> None:
    kept: list[Context] = []
    call(lambda request, context: kept.append(context), workplace, tmp_path)
    with pytest.raises(TemporaryUploadError):
        kept[0].store(b"late")


def test_what_a_function_raises_reaches_the_worker(workplace: Workplace, tmp_path: Path) -> None:
    def handle(_request: UploadRequest) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        call(handle, workplace, tmp_path)


def test_a_handler_that_never_stores_needs_no_destination(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    workplace = Workplace(Settings(destination=str(tmp_path / "file")), Threads(1))
    assert call(lambda request: None, workplace, tmp_path) is None


def test_a_destination_that_cannot_be_used_is_no_uploads_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    workplace = Workplace(Settings(destination=str(tmp_path / "file")), Threads(1))

    def handle(_request: UploadRequest, context: Context) -> Stored:
        return context.store(b"x", "k")

    with pytest.raises(StoreUnavailableError, match="destination must be a writable folder"):
        call(handle, workplace, tmp_path)
    (tmp_path / "file").unlink()
    assert call(handle, workplace, tmp_path) is not None
