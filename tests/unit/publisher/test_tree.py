"""A directory as a stranger may have left it: hostile names, links, holes, changes while it is listed."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from upswell.publisher.tree import Note, Selection, Tree


def listed(top: Path, **options: Any) -> tuple[list[str], list[Note]]:
    notes: list[Note] = []
    return [file.name for file in Tree(str(top), on_note=notes.append, **options)], notes


def make(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def test_a_tree_is_listed_whole_in_the_order_of_its_names_bytes_with_sizes(tmp_path: Path) -> None:
    """The order in which object stores list: `a.b` before `a/b`, because `.` is less than `/`."""
    names = ["Z", "a/b", "a/c/d", "a.b", "a0", "é/ü", "b"]
    make(tmp_path, *names)
    found = list(Tree(str(tmp_path), on_note=lambda note: pytest.fail(str(note))))
    assert [file.name for file in found] == sorted(names, key=lambda name: name.encode())
    assert [file.size for file in found] == [len(file.name) for file in found]
    assert [Path(file.path) for file in found] == [tmp_path / file.name for file in found]


@pytest.mark.parametrize("names_in_memory", [1, 2, 3, 7, 100])
def test_a_directory_too_large_for_memory_is_sorted_in_runs(tmp_path: Path, names_in_memory: int) -> None:
    names = [f"{n:02d}\n" * (n % 3 + 1) for n in range(20)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    make(tmp_path, "folder/x")
    found, _ = listed(tmp_path, names_in_memory=names_in_memory)
    assert found == sorted([*names, "folder/x"])


def test_a_run_on_disk_longer_than_one_read_comes_back_whole(tmp_path: Path, monkeypatch: Any) -> None:
    rng = random.Random(4)
    names = {rng.randbytes(rng.randint(1, 60)).hex() for _ in range(3000)}
    for name in names:
        (tmp_path / name).touch()
    found, _ = listed(tmp_path, names_in_memory=1000)
    assert found == sorted(names)


class Entry:
    """A directory entry that is on no disk."""

    def __init__(self, number: int) -> None:
        self.name = b"%09d.jpg" % (number * 7919 % 1_000_003)

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        """Return no."""
        return False


class Million:
    """What `os.scandir` gives of a directory of a million files."""

    def __enter__(self) -> Any:
        return map(Entry, range(1_000_000))

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_million_files_take_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", lambda path: Million())
    names = Tree(str(tmp_path), on_note=print)._names(os.fsencode(tmp_path))
    tracemalloc.start()
    count, last = 0, b""
    for name in names:
        assert name > last
        last = name
        count += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1_000_000
    assert peak < 20 * 1024 * 1024


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline",
        b"\x1b[31mred",
        b"\xff\xfe not UTF-8",
        b"-rf",
        b"..x",
        b"...",
        b" ",
        b"%2e%2e",
        b"x" * 255,
    ],
    ids=["newline", "escape", "bytes", "option", "dots", "ellipsis", "space", "percent", "long"],
)
def test_a_hostile_name_is_listed_as_it_is(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    found, notes = listed(tmp_path)
    assert [os.fsencode(one) for one in found] == [name]
    assert notes == []


def test_links_are_passed_over_and_noted(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(tmp_path, "in/file", "outside/secret")
    (tmp_path / "in/link").symlink_to(outside / "secret")
    (tmp_path / "in/folder").symlink_to(outside)
    (tmp_path / "in/nowhere").symlink_to("missing")
    (tmp_path / "in/self").symlink_to("self")
    found, notes = listed(tmp_path / "in")
    assert found == ["file"]
    assert [(note.kind, Path(note.path).name) for note in notes] == [
        ("link", name) for name in ("folder", "link", "nowhere", "self")
    ]


def test_links_are_followed_where_asked_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "in/a/file", "outside/secret")
    (tmp_path / "in/link").symlink_to(tmp_path / "outside/secret")
    (tmp_path / "in/a/up").symlink_to("..")
    (tmp_path / "in/nowhere").symlink_to("missing")
    (tmp_path / "in/self").symlink_to("self")
    notes: list[Note] = []
    found = list(Tree(str(tmp_path / "in"), follow_links=True, on_note=notes.append))
    assert [file.name for file in found] == ["a/file", "link"]
    assert found[1].path == str(tmp_path / "outside/secret")  # workers follow no link
    assert [(note.kind, Path(note.path).name) for note in notes] == [
        ("link", "up"), ("vanished", "nowhere"), ("unreadable", "self"),
    ]  # fmt: skip


def test_a_fifo_and_a_socket_are_passed_over_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    make(tmp_path, "z")
    found, notes = listed(tmp_path)
    assert found == ["z"]
    assert [note.kind for note in notes] == ["special"]


def test_a_file_and_a_folder_that_vanish_while_listing_are_noted(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "c/d", "e")
    notes: list[Note] = []
    walk = iter(Tree(str(tmp_path), on_note=notes.append))
    assert next(walk).name == "a"
    (tmp_path / "b").unlink()
    (tmp_path / "c/d").unlink()
    (tmp_path / "c").rmdir()
    assert [file.name for file in walk] == ["e"]
    assert [(note.kind, Path(note.path).name) for note in notes] == [("vanished", "b"), ("vanished", "c")]


def test_a_folder_that_becomes_a_file_while_listing_is_noted(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/c")
    notes: list[Note] = []
    walk = iter(Tree(str(tmp_path), on_note=notes.append))
    next(walk)
    (tmp_path / "b/c").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "b").touch()
    assert list(walk) == []
    assert [note.kind for note in notes] == ["vanished"]


def test_a_file_that_grows_while_listing_has_the_size_at_which_it_was_seen(tmp_path: Path) -> None:
    """The worker compares: a source of another size is tried again, then told as a failure."""
    make(tmp_path, "a", "b")
    walk = iter(Tree(str(tmp_path), on_note=print))
    next(walk)
    (tmp_path / "b").write_bytes(b"grown" * 100)
    assert next(walk).size == 500


def test_an_unreadable_folder_is_noted_and_the_rest_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/b", "c/d", "e")
    real = os.scandir

    def scandir(path: bytes) -> Any:
        if path.endswith(b"/c"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, notes = listed(tmp_path)
    assert found == ["a/b", "e"]
    assert [(note.kind, note.reason) for note in notes] == [("unreadable", "Permission denied")]


def test_a_top_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listed(tmp_path / "missing")


def test_a_tree_deeper_than_a_path_may_be_long_is_noted(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # 20 x 250 bytes: longer than PATH_MAX, made by descriptors
        os.mkdir("d" * 250, dir_fd=top)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    found, notes = listed(tmp_path)
    assert found == []
    assert [note.kind for note in notes] == ["unreadable"]
    assert "name too long" in notes[0].reason.lower()


def test_an_excluded_folder_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/b.jpg", "raw/c.jpg", "d.txt")
    opened: list[bytes] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(path), real(path))[1])
    found, _ = listed(tmp_path, selection=Selection(["*.jpg"], ["raw/"]))
    assert found == ["a/b.jpg"]
    assert not any(path.endswith(b"/raw") for path in opened)
