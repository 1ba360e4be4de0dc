"""What a person may name on the command line, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import MessageError, UpswellError
from upswell.publisher.items import Thing
from upswell.publisher.sources import Candidate, Sources, What, is_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upswell.publisher.tree import Note


def found(
    *arguments: str, list_objects: Callable[[str], Iterator[Thing]] | None = None, **options: Any
) -> tuple[list[Candidate], list[Note]]:
    notes: list[Note] = []

    async def scenario() -> list[Candidate]:
        sources = Sources(What(app_id="e1", arguments=arguments, **options), notes.append, list_objects)
        return [candidate async for batch in sources.batches() for candidate in batch]

    return asyncio.run(scenario()), notes


def keys(candidates: list[Candidate]) -> list[str | None]:
    return [candidate.request.key for candidate in candidates]


def make(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"12345")
    return top


def test_a_directory_gives_its_files_with_relative_names_as_keys(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b/c.txt")
    for argument in (str(tmp_path), f"{tmp_path}/", tmp_path.as_uri()):
        candidates, notes = found(argument)
        assert keys(candidates) == ["a.jpg", "b/c.txt"]
        assert [c.request.size_bytes for c in candidates] == [5, 5]
        assert [c.request.type for c in candidates] == ["image/jpeg", "text/plain"]
        assert notes == []


def test_a_relative_directory_gives_absolute_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "photos/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [c.request.uri for c in found("photos")[0]] == [(tmp_path / "photos/a.jpg").as_uri()]


def test_a_prefix_stands_before_the_keys_and_patterns_are_relative_to_the_directory(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "raw/b.jpg", "c.txt")
    assert keys(found(str(tmp_path), prefix="x/", include=("*.jpg",), exclude=("/raw/",))[0]) == ["x/a.jpg"]


def test_several_directories_are_told_apart_by_their_names(tmp_path: Path) -> None:
    make(tmp_path, "a/x", "b/x")
    assert keys(found(str(tmp_path / "a"), str(tmp_path / "b"))[0]) == ["a/x", "b/x"]
    make(tmp_path, "other/a/x")
    with pytest.raises(UpswellError, match="must have different last names"):
        found(str(tmp_path / "a"), str(tmp_path / "other/a"))


@pytest.mark.parametrize("other", ["s3://bert/photos", "gs://anna/2026/photos/", "/data/photos"])
def test_folders_of_buckets_must_have_different_last_names_too(tmp_path: Path, other: str) -> None:
    def list_objects(uri: str) -> Iterator[Thing]:
        yield Thing(uri=f"{uri}x", key="x", size=3, version="etag")

    anna = "s3://anna/photos/"
    if other.startswith("/"):
        other = str(make(tmp_path / other.strip("/"), "x"))
    with pytest.raises(UpswellError, match=r"must have different last names.*got s3://anna/photos and "):
        found(anna, other, list_objects=list_objects)
    told_apart, _ = found(anna, "s3://anna/films/", list_objects=list_objects)
    assert keys(told_apart) == ["photos/x", "films/x"]
    assert len(found(anna, "s3://anna/photos", list_objects=list_objects)[0]) == 2  # one named twice


def test_a_name_that_cannot_be_a_key_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    make(tmp_path, "a", "b\nc", "d")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    candidates, notes = found(str(tmp_path))
    assert keys(candidates) == ["a", "d"]
    assert [note.kind for note in notes] == ["refused", "refused"]


def test_many_files_come_in_batches_in_order(tmp_path: Path) -> None:
    make(tmp_path, *(f"{n:04d}" for n in range(450)))
    assert keys(found(str(tmp_path))[0]) == [f"{n:04d}" for n in range(450)]


def test_a_source_that_is_missing_is_an_error_with_its_name_before_anything_is_found(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    with pytest.raises(UpswellError, match=r"nowhere does not exist"):
        found(str(tmp_path / "a.jpg"), str(tmp_path / "nowhere"))


@pytest.mark.parametrize("uri", ["s3:/bucket", "S3:bucket/x", "https:/host/a"])
def test_a_uri_with_a_slash_too_few_is_no_missing_file(uri: str) -> None:
    with pytest.raises(UpswellError, match=r"a URI must begin with (s3|https)://, got "):
        found(uri)


def test_files_are_uploaded_under_their_own_names_whatever_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "photo.jpg", "sub/list.json", "notes.txt")
    (tmp_path / "sub/list.json").write_text('[{"type": "file", "uri": "file:///x"}]')
    monkeypatch.chdir(tmp_path)
    candidates, notes = found("photo.jpg", "sub/list.json", (tmp_path / "notes.txt").as_uri(), prefix="in/")
    assert keys(candidates) == ["in/photo.jpg", "in/list.json", "in/notes.txt"]
    assert candidates[0].request.uri == (tmp_path / "photo.jpg").as_uri()
    assert candidates[0].request.size_bytes == 5
    assert notes == []


def test_files_folders_and_lists_go_together(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "films/b.mp4")
    (tmp_path / "more").write_text("https://host/c.jpg\n")
    candidates, _ = found(
        str(tmp_path / "a.jpg"), str(tmp_path / "films"), requests=(str(tmp_path / "more"),)
    )
    assert keys(candidates) == ["a.jpg", "films/b.mp4", None]


def test_patterns_hold_for_files_too(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.txt")
    assert keys(found(str(tmp_path / "a.jpg"), str(tmp_path / "b.txt"), exclude=("*.txt",))[0]) == ["a.jpg"]


def test_two_files_of_one_name_are_refused_and_one_named_twice_is_not(tmp_path: Path) -> None:
    make(tmp_path, "a/x.jpg", "b/x.jpg")
    with pytest.raises(UpswellError, match="must have different last names"):
        found(str(tmp_path / "a/x.jpg"), str(tmp_path / "b/x.jpg"))
    assert len(found(str(tmp_path / "a/x.jpg"), str(tmp_path / "a/../a/x.jpg"))[0]) == 2


def test_only_its_name_makes_a_file_a_list(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "b.NDJSON", "c.json", "folder.jsonl/x")
    lists = [
        name for name in ("a.jsonl", "b.NDJSON", "c.json", "folder.jsonl") if is_list(str(tmp_path / name))
    ]
    assert lists == ["a.jsonl", "b.NDJSON"]
    assert is_list("-")
    assert not is_list((tmp_path / "a.jsonl").as_uri())


def test_files_are_counted_beforehand_and_folders_are_not(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "folder/c")
    (tmp_path / "l").write_text("https://host/1\nhttps://host/2\n")
    a, b, folder, lines = (str(tmp_path / name) for name in ("a", "b", "folder", "l"))

    def count(*arguments: str) -> int | None:
        what = What(app_id="e1", arguments=arguments, requests=(lines,))
        return Sources(what, lambda _note: None).count()

    assert count(a, b) == 4
    assert count(a, folder) is None


LISTED = ["https://host/a.jpg", "s3://bucket/b.png"]


def test_a_list_may_hold_uris_paths_and_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "b c.txt", "folder/x")
    (tmp_path / "link").symlink_to("a.jpg")
    monkeypatch.chdir(tmp_path)
    lines = [
        *LISTED,
        "a.jpg",
        "./b c.txt",
        str(tmp_path / "folder/x"),
        (tmp_path / "a.jpg").as_uri(),
        '{"type": "file", "uri": "file:///x", "key": "k"}',
        "folder",
        "link",
        "/nowhere/at/all",
    ]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    for candidates, notes in (
        found(requests=(str(path),)),
        found(requests=("-",), descriptor=os.open(path, os.O_RDONLY)),
    ):
        assert [c.request.uri for c in candidates] == [
            *LISTED,
            (tmp_path / "a.jpg").as_uri(),
            (tmp_path / "b c.txt").as_uri(),
            (tmp_path / "folder/x").as_uri(),
            (tmp_path / "a.jpg").as_uri(),
            "file:///x",
        ]
        assert [c.request.size_bytes for c in candidates] == [None, None, 5, 5, 5, 5, None]
        assert [c.thing is None for c in candidates] == [*[False] * 6, True]
        assert candidates[2].request.id == candidates[5].request.id  # one file, named twice
        assert [note.kind for note in notes] == ["special", "link", "vanished"]


def test_a_json_list_may_hold_uris(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([*LISTED, {"type": "file", "uri": "file:///x"}]))
    assert [c.request.uri for c in found(requests=(str(path),))[0]] == [*LISTED, "file:///x"]


def test_names_ended_by_nul_may_hold_newlines(tmp_path: Path) -> None:
    make(tmp_path, "a\nb", "c")
    reading, writing = os.pipe()
    os.write(writing, b"\0".join(os.fsencode(tmp_path / name) for name in ("a\nb", "c")) + b"\0")
    os.close(writing)
    candidates, notes = found(requests=("-",), descriptor=reading, separator=b"\0")
    os.close(reading)
    assert notes == []
    assert [c.request.uri for c in candidates] == [(tmp_path / name).as_uri() for name in ("a\nb", "c")]


def test_uris_as_arguments_are_things_to_upload(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    uri = (tmp_path / "a.jpg").as_uri()
    candidates, _ = found("https://host/x.mp4", uri)
    assert [(c.request.uri, c.request.type, c.request.size_bytes) for c in candidates] == [
        ("https://host/x.mp4", "video/mp4", None),
        (uri, "image/jpeg", 5),
    ]


def test_a_prefix_of_a_store_is_listed(tmp_path: Path) -> None:
    def list_objects(uri: str) -> Iterator[Thing]:
        assert uri == "s3://bucket/photos/"
        for name in ("a.jpg", "b/c.jpg", "d.txt"):
            yield Thing(uri=f"{uri}{name}", key=name, size=3, version="etag")

    candidates, _ = found(
        "s3://bucket/photos/", list_objects=list_objects, include=("*.jpg",), prefix="copy/"
    )
    assert keys(candidates) == ["copy/a.jpg", "copy/b/c.jpg"]
    assert [c.request.uri for c in candidates] == [
        "s3://bucket/photos/a.jpg",
        "s3://bucket/photos/b/c.jpg",
    ]


def test_a_picture_taken_for_a_list_is_refused_with_a_hint(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0" * 100)
    with pytest.raises(MessageError, match=r"line 1: .*; to upload the file itself, name it file:///"):
        found(requests=(str(picture),))


def test_a_pipe_as_an_argument_is_read_once(tmp_path: Path) -> None:
    """As a shell's `<(command)` gives it."""
    reading, writing = os.pipe()
    os.write(writing, b"https://host/a\n")
    os.close(writing)
    assert [c.request.uri for c in found(requests=(f"/dev/fd/{reading}",))[0]] == ["https://host/a"]
    os.close(reading)
