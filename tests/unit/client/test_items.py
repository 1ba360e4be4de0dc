"""What a program may publish, and what each becomes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from upswell.client.items import BATCH, batches, request_for
from upswell.errors import MessageError, PermanentUploadError
from upswell.messages import UploadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_the_same_file_is_the_same_request_however_it_is_named_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cat = tmp_path / "cat no 1.jpg"
    cat.write_bytes(b"cat")
    request = request_for(cat, "photos", key="cats/1.jpg")
    assert (request.uri, request.key, request.size_bytes) == (cat.as_uri(), "cats/1.jpg", 3)
    assert (request.app_id, request.type) == ("photos", "image/jpeg")
    for same in (str(cat), "cat no 1.jpg", cat.as_uri()):
        assert request_for(same, "photos", key="cats/1.jpg") == request
    os.utime(cat, ns=(1, 1))
    assert request_for(cat, "photos", key="cats/1.jpg").id != request.id


def test_a_uri_and_a_request_keep_their_ids_too() -> None:
    web = request_for("https://example.org/a.mp4", "photos", kind="video")
    assert (web, web.type) == (request_for("https://example.org/a.mp4", "photos", kind="video"), "video")
    mine = UploadRequest(app_id="photos", type="file", uri="file:///a", published_at=7.0)
    made = request_for(mine, "photos", key="k")
    assert (made.key, made.published_at) == ("k", None)
    assert made.id == request_for(mine, "photos", key="k").id != request_for(mine, "photos").id
    own = UploadRequest(app_id="photos", type="file", uri="file:///a", id="mine")
    assert request_for(own, "photos") == own


def refused(tmp_path: Path) -> Iterator[tuple[Any, str]]:
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    yield tmp_path / "nothing", "cannot publish .*: No such file"
    yield tmp_path, "must be a file, got .* a directory"
    yield tmp_path / "link", "no regular file"
    yield tmp_path / "pipe", "no regular file"
    yield "a\0b", "cannot publish"
    yield UploadRequest(app_id="other", type="file", uri="file:///a"), "app_id must be 'photos'.*got 'other'"
    yield UploadRequest(app_id="photos", type="file", uri=""), "not a valid UploadRequest"
    yield UploadRequest(app_id="photos", type="file", uri=7), "not a valid UploadRequest"  # type: ignore[arg-type]
    yield UploadRequest(app_id="photos", type="file", uri="file:///a", key="../x"), "an object's key"


def test_what_cannot_be_uploaded_is_refused_with_the_rule_and_the_value(tmp_path: Path) -> None:
    for item, rule in refused(tmp_path):
        with pytest.raises(PermanentUploadError, match=rule):
            request_for(item, "photos")
    with pytest.raises(TypeError, match="must be a path, a URI or an UploadRequest, got bytes"):
        request_for(b"bytes", "photos")  # type: ignore[arg-type]


def test_one_item_is_not_taken_for_many() -> None:
    with pytest.raises(TypeError, match=r"an iterable of items, got one item: '/data/cat\.jpg'; use publish"):
        list(batches("/data/cat.jpg", "photos", None))


def test_an_iterable_is_never_held_as_a_whole_and_what_stands_before_a_mistake_counts() -> None:
    taken = 0

    def uris() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 1002):
            yield f"https://example.org/{taken}" if taken < 1001 else "/nothing/there"

    found = batches(uris(), "photos", None, monotonic=lambda: 0.0)
    assert len(next(found)) == taken == BATCH
    rest = [len(batch) for batch in iter(lambda: next(found), [])]
    assert sum(rest) == 800
    with pytest.raises(MessageError, match="/nothing/there"):
        next(found)


def test_a_slow_iterable_does_not_hold_back_what_it_gave() -> None:
    now = iter(range(1000))
    found = batches(
        (f"https://example.org/{number}" for number in range(3)), "a", None, lambda: float(next(now))
    )
    assert [len(batch) for batch in found] == [1, 1, 1, 0]
