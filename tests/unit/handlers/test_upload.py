from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import PermanentUploadError, SettingsError, TemporaryUploadError
from upswell.handlers.threads import Threads
from upswell.handlers.upload import UploadHandler
from upswell.messages import UploadRequest
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"0123456789" * 1000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "v.mp4"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def upload(source: Path, settings: dict[str, Any] | None = None, **fields: Any) -> Any:
    async def scenario() -> Any:
        handler = UploadHandler(
            Settings(
                destination=str(source.parent.parent / "store"),
                source_roots=[str(source.parent)],
                **(settings or {}),
            ),
            Threads(2),
        )
        return await handler(
            UploadRequest(
                **{"app_id": "e1", "type": "video", "uri": source.as_uri(), "id": "r", "key": "k", **fields}
            )
        )

    return asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["video", "image/png", "Application/PDF", "file", "upload", "text"])
def test_known_types_and_mime_types_are_taken(source: Path, kind: str) -> None:
    assert upload(source, type=kind) is not None


@pytest.mark.parametrize("kind", ["delete", "vide0", "../x", "/video", "x-video/mp4", "\0"])
def test_an_unknown_type_is_dead_lettered_with_the_types_there_are(source: Path, kind: str) -> None:
    with pytest.raises(PermanentUploadError, match="type must be one of application, archive, audio"):
        upload(source, type=kind)


def test_a_source_of_another_size_than_the_request_says_is_tried_again(source: Path) -> None:
    with pytest.raises(TemporaryUploadError, match="has 10000 bytes, the request says 9999"):
        upload(source, size_bytes=9999)
    assert not (source.parent.parent / "store" / "k").exists()


def test_a_rate_limit_holds_for_a_real_upload(source: Path) -> None:
    """Real time on purpose: 10,000 bytes at 50,000 a second take a fifth of a second."""
    started = time.monotonic()
    upload(source, {"upload_rate_limit": 50_000.0})
    assert 0.19 < time.monotonic() - started < 60


def test_a_cancelled_upload_stops_soon_and_stores_nothing(source: Path) -> None:
    async def scenario() -> None:
        store = source.parent.parent / "store"
        settings = Settings(destination=str(store), source_roots=[str(source.parent)], upload_rate_limit=1.0)
        handler = UploadHandler(settings, Threads(1))
        request = UploadRequest(app_id="e1", type="video", uri=source.as_uri(), id="r", key="k")
        call = asyncio.ensure_future(handler(request))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(TemporaryUploadError, match="stopped"):
            await asyncio.wait_for(call, 60)
        assert not (store / "k").exists()
        assert list((store / ".upswell-tmp").iterdir()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("destination", ["ftp://host/x", "https://host/x"])
def test_a_destination_that_is_no_folder_is_refused_at_the_start(destination: str) -> None:
    with pytest.raises(SettingsError, match=r"one of file, s3, gs, az|cannot be a destination"):
        UploadHandler(Settings(destination=destination), Threads(1))


def test_a_destination_that_is_a_file_is_refused_at_the_start(source: Path) -> None:
    with pytest.raises(SettingsError, match="destination must be a writable folder"):
        UploadHandler(Settings(destination=source.as_uri()), Threads(1))
