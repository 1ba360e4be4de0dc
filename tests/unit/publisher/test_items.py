# ruff: noqa: D102 - methods named for what they do
from __future__ import annotations

import doctest
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import MessageError, PermanentUploadError
from upswell.publisher import items
from upswell.publisher.items import Thing, file_thing, list_objects, request_of
from upswell.publisher.sources import local_path
from upswell.publisher.tree import File
from upswell.settings import Settings
from upswell.stores.addresses import file_uri
from upswell.stores.clients.bucket import ObjectInfo
from upswell.stores.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = File("/data/photos/a/b.jpg", "a/b.jpg", 7, 1_700_000_000_000_000_000)


def test_the_examples_in_the_docs_hold() -> None:
    assert doctest.testmod(items).failed == 0
    assert doctest.testmod(items).attempted >= 1


def test_a_file_becomes_a_request_with_its_relative_name_as_key_and_its_size() -> None:
    request = request_of(file_thing(FILE, "2026/"), app_id="e1")
    assert (request.uri, request.key, request.size_bytes, request.type) == (
        "file:///data/photos/a/b.jpg", "2026/a/b.jpg", 7, "image/jpeg",
    )  # fmt: skip
    assert request.id is not None
    assert request.checksum is None


def test_the_id_is_the_same_as_long_as_the_thing_is() -> None:
    def id_of(**changed: Any) -> str | None:
        fields = {"path": FILE.path, "name": FILE.name, "size": FILE.size, "mtime_ns": FILE.mtime_ns}
        options = {key: changed.pop(key) for key in ("app_id", "salt", "kind") if key in changed}
        return request_of(file_thing(File(**{**fields, **changed})), **{"app_id": "e1", **options}).id

    assert id_of() == id_of()
    assert id_of() == id_of(kind="video")  # what a machine takes its type for does not make another file
    others = [{"size": 8}, {"mtime_ns": 1}, {"path": "/x"}, {"name": "c"}, {"app_id": "e2"}, {"salt": "s"}]
    assert len({id_of(), *(id_of(**other) for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a\nb", "must have no control characters"),
        ("\x1b[2J", "must have no control characters"),
        (os.fsdecode(b"\xff.jpg"), "must be valid Unicode"),
        ("a/" * 600 + "b", "must have 1 to 1024 bytes"),
        ("../b", "must be relative, without empty, '.' or '..' components"),
        ("x" * 256, "at most 255 bytes"),
    ],
)
def test_a_name_that_cannot_be_a_key_is_refused_not_repaired(name: str, rule: str) -> None:
    """Two files must never become one object."""
    with pytest.raises(MessageError) as caught:
        request_of(Thing(uri="file:///x", key=name), app_id="e1")
    assert rule in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_uri_longer_than_a_message_takes_is_refused() -> None:
    with pytest.raises(MessageError, match="length <= 4096"):
        request_of(Thing(uri="file:///" + "x" * 5000), app_id="e1")


class BucketWithFolders:
    """As obstore shows one: the folders `photos/` and `photos/2026/` are listed without their slashes."""

    def __init__(self, *_: object) -> None:
        self.sizes = {"photos/2026/beach.jpg": 5, "photos/empty": 0, "photos/both": 7}

    def list(self, _prefix: str) -> Iterator[tuple[str, ObjectInfo]]:
        folders = [("photos", 0), ("photos/2026", 0), ("photos/both", 0)]
        return ((key, ObjectInfo(size, "e", {})) for key, size in [*folders, *self.sizes.items()])

    def stat(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(self.sizes[key], "e", {}) if key in self.sizes else None


def listed(monkeypatch: pytest.MonkeyPatch, bucket: type[BucketWithFolders]) -> dict[str | None, int | None]:
    REGISTRY.load("s3")  # before: what it imports keeps the real one
    monkeypatch.setattr("upswell.stores.clients.bucket.Bucket", bucket)
    return {thing.key: thing.size for thing in list_objects(Settings(), "s3://bucket/photos/")}


def test_the_markers_of_a_buckets_folders_are_nothing_to_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(monkeypatch, BucketWithFolders) == {"2026/beach.jpg": 5, "empty": 0, "both": 7}


def test_who_may_list_a_bucket_but_not_read_it_still_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable(BucketWithFolders):
        def stat(self, key: str) -> ObjectInfo | None:
            raise PermanentUploadError(f"access denied: {key}")

    assert listed(monkeypatch, Unreadable).keys() == {"2026", "2026/beach.jpg", "empty", "both"}


@given(st.binary(min_size=1, max_size=200).filter(lambda name: b"\0" not in name))
def test_any_path_comes_back_from_its_uri(name: bytes) -> None:
    path = os.fsdecode(b"/" + name)
    uri = file_uri(path)
    assert uri.isascii()
    assert uri.isprintable()
    assert local_path(uri) == path
