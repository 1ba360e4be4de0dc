"""Notes of what a client sent: written together, once it is closed, and no upload fails with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.client.sent_notes import SentNotes
from upswell.events import capture
from upswell.messages import UploadRequest
from upswell.publisher.stored_record import look_up_sent, record_path
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def request(app_id: str, name: str) -> UploadRequest:
    return UploadRequest(app_id=app_id, type="file", uri=f"file:///photos/{name}", id=f"id-{name}", key=name)


def noted(settings: Settings, *requests: UploadRequest) -> None:
    async def scenario() -> None:
        notes = SentNotes(settings)
        for one in requests:
            notes.note(one)
            await asyncio.sleep(0)
        await notes.close()

    asyncio.run(scenario())


def test_closing_writes_what_was_noted_of_each_application(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    noted(settings, request("cats", "a"), request("dogs", "b"), request("cats", "c"))
    noted(settings)
    path = record_path(settings)
    assert [one.key for one in look_up_sent(path, "cats", ["a", "id-c", "b"])] == ["a", "c"]
    assert [one.uri for one in look_up_sent(path, "dogs", ["b"])] == ["file:///photos/b"]


def test_where_nothing_can_be_written_it_is_logged_once(tmp_path: Path) -> None:
    (tmp_path / "stored.sqlite").write_text("no database, " * 500)
    settings = Settings(state_dir=str(tmp_path))

    async def scenario() -> None:
        notes = SentNotes(settings)
        notes.note(request("cats", "a"))
        await notes.close()
        notes.note(request("cats", "b"))
        await notes.close()

    with capture() as log:
        asyncio.run(scenario())
    (entry,) = log
    assert entry["event"] == "client.record_failed"
    assert "stored.sqlite" in str(entry["error"])
