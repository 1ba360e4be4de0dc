"""Attacks on where bytes come from: each must end in a clear error, and none may open anything else."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.stores.sources import files
from upswell.stores.sources.files import FileSource, open_file


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def read(source: FileSource) -> bytes:
    with source:
        buffer = memoryview(bytearray(1 << 16))
        return bytes(buffer[: source.readinto(buffer)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file.txt").write_bytes(b"inside")
    (tmp_path / "secret.txt").write_bytes(b"outside")
    return root


@pytest.mark.parametrize(
    "form", ["file://{}", "file://localhost{}", "FILE://LOCALHOST{}", "file:{}", "file:///.{}"]
)
def test_a_file_below_a_root_is_opened(root: Path, form: str) -> None:
    source = open_file(form.format(root / "a" / "file.txt"), [root])
    assert source.size == 6
    assert read(source) == b"inside"


def test_percent_encoded_names_are_decoded_whatever_bytes_they_hold(root: Path) -> None:
    (root / "a b?#%é.txt").write_bytes(b"1")
    (root / os.fsdecode(b"\xff")).write_bytes(b"2")
    assert read(open_file(f"file://{root}/a%20b%3F%23%25%C3%A9.txt", [root])) == b"1"
    assert read(open_file(f"file://{root}/%FF", [root])) == b"2"


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("https://example.org/x", r"upload sources must be file:// URIs, got https://example.org/x"),
        ("https://me:secret@example.org/x", r"got https://\*\*\*@example.org/x"),
        ("s3://bucket/key", "upload sources must be file:// URIs"),
        ("/etc/passwd", "upload sources must be file:// URIs"),
        ("", "upload sources must be file:// URIs"),
        ("file://other.host{root}/a/file.txt", "must not name another host"),
        ("file:a/file.txt", "absolute path"),
        ("file://", "absolute path"),
        ("file://{root}/a/file.txt%00.png", "without NUL"),
        ("file://{root}/a/file.txt?x", "percent-encoded"),
        ("file://{root}/a/file.txt#x", "percent-encoded"),
        ("file://{root}/../secret.txt", "is not below source_roots"),
        ("file://{root}/%2e%2e/secret.txt", "is not below source_roots"),
        ("file://{root}/a/..%2f..%2fsecret.txt", "is not below source_roots"),
        ("file://{root}/a/../a/file.txt", "is not below source_roots"),
        ("file://{root}", "is not below source_roots"),
        ("file://{root}x/file.txt", "is not below source_roots"),
        ("file:///etc/passwd", "is not below source_roots"),
        ("file:////etc/passwd", "is not below source_roots"),
        ("file://{root}/a", "must be a regular file, got a folder"),
        ("file://{root}/missing", "does not exist"),
        ("file://{root}/a/file.txt/x", "leads through a file"),
        ("file://{root}/" + "x" * 300, "is too long for the file system"),
    ],
)
def test_what_is_no_file_below_a_root_is_refused(root: Path, uri: str, rule: str) -> None:
    with pytest.raises(PermanentUploadError, match=rule) as caught:
        open_file(uri.replace("{root}", str(root)), [root])
    assert "secret@" not in str(caught.value)


def test_without_roots_nothing_is_read_and_the_error_names_the_setting(root: Path) -> None:
    with pytest.raises(PermanentUploadError, match="source_roots is empty"):
        open_file(f"file://{root}/a/file.txt", [])


@pytest.mark.parametrize("name", ["link.txt", "dir/secret.txt", "a/in.txt", "loop", "dangling"])
def test_no_symbolic_link_below_a_root_is_followed(root: Path, name: str) -> None:
    """Not even one that stays inside: where it leads can change between the look and the opening."""
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "dir").symlink_to(root.parent)
    (root / "a" / "in.txt").symlink_to("file.txt")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    with pytest.raises(PermanentUploadError, match="is behind a symbolic link"):
        open_file(f"file://{root}/{name}", [root])


def test_a_root_that_is_itself_a_link_is_followed_by_both_of_its_names(root: Path) -> None:
    """Roots come from settings, not from messages."""
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert read(open_file(f"file://{alias}/a/file.txt", [alias])) == b"inside"
    assert read(open_file(f"file://{root}/a/file.txt", [alias])) == b"inside"


def test_a_folder_swapped_for_a_link_while_it_is_walked_leads_nowhere(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that realpath() loses: the check is right, and the opening goes elsewhere."""
    real = os.stat

    def swap(name: str, **where: int | bool) -> os.stat_result:
        status = real(name, **where)  # type: ignore[arg-type]
        if name == "file.txt":
            (root / "a").rename(root / "moved")
            (root / "a").symlink_to(root.parent)
            (root.parent / "file.txt").write_bytes(b"outside")
        return status

    monkeypatch.setattr(os, "stat", swap)
    assert read(open_file(f"file://{root}/a/file.txt", [root])) == b"inside"


def test_a_file_swapped_for_a_link_after_the_look_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.refuse_link

    def swap(folder: int, name: str) -> os.stat_result:
        status = real(folder, name)
        (root / "a" / "file.txt").unlink()
        (root / "a" / "file.txt").symlink_to(root.parent / "secret.txt")
        return status

    monkeypatch.setattr(files, "refuse_link", swap)
    with pytest.raises(PermanentUploadError, match="symbolic link"):
        open_file(f"file://{root}/a/file.txt", [root])


def test_a_fifo_does_not_hang_the_worker_even_when_swapped_in(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    with pytest.raises(PermanentUploadError, match="regular file, got a FIFO"):
        open_file(f"file://{root}/fifo", [root])
    regular = (root / "a" / "file.txt").stat()
    monkeypatch.setattr(files, "refuse_link", lambda _folder, _name: regular)
    with pytest.raises(PermanentUploadError, match="regular file, got a FIFO"):
        open_file(f"file://{root}/fifo", [root])


def test_sockets_and_devices_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        with pytest.raises(PermanentUploadError, match="regular file, got a socket"):
            open_file(f"file://{root}/sock", [root])
    with pytest.raises(PermanentUploadError, match="regular file, got a device"):
        open_file("file:///dev/null", [Path("/dev")])


def test_an_error_that_may_pass_is_temporary(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", busy)
    with pytest.raises(TemporaryUploadError, match="Too many open files"):
        open_file(f"file://{root}/a/file.txt", [root])


def test_a_source_that_changes_during_its_upload_is_noticed(root: Path) -> None:
    with open_file(f"file://{root}/a/file.txt", [root]) as source:
        source.check_unchanged()
        with (root / "a" / "file.txt").open("ab") as file:
            file.write(b" more")
        with pytest.raises(TemporaryUploadError, match="changed during its upload"):
            source.check_unchanged()


def test_opening_leaves_no_descriptor_behind(root: Path) -> None:
    before = descriptors()
    for name in ["a/file.txt", "missing", "a", "a/b/c", "../x"]:
        with suppress(PermanentUploadError), open_file(f"file://{root}/{name}", [root]):
            pass
    assert descriptors() == before


def test_a_source_that_is_closed_twice_closes_nobody_elses_file(root: Path) -> None:
    with open_file(f"file://{root}/a/file.txt", [root]) as source:
        pass
    with (root / "a" / "file.txt").open("rb") as other:
        source.__exit__(None, None, None)
        assert other.read() == b"inside"
    with pytest.raises(TemporaryUploadError, match="cannot read"):
        source.readinto(memoryview(bytearray(1)))
