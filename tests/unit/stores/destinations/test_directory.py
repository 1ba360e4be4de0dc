from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.requests import PRIVATE
from upswell.stores.destinations.directory import DirectoryStore, StoredObject
from upswell.stores.sources.files import open_file
from upswell.testing.memory_source import MemorySource, checksum


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "store"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def leftovers(root: Path) -> list[str]:
    return [path.name for path in (root / PRIVATE).iterdir()]


@pytest.mark.parametrize("size", [0, 1, 4095, 3_000_000])
def test_an_object_is_stored_whole_with_its_length_and_checksum(
    store: DirectoryStore, root: Path, size: int
) -> None:
    content = os.urandom(size)
    stored = store.put("e1/2026/é.bin", MemorySource(content), checksum=checksum(content))
    assert stored == StoredObject(size, checksum(content))
    assert (root / "e1/2026/é.bin").read_bytes() == content
    assert leftovers(root) == []


def test_an_upload_done_twice_writes_once(store: DirectoryStore, root: Path) -> None:
    content = b"x" * 100
    store.put("k", MemorySource(content))
    before = (root / "k").stat()
    assert store.put("k", MemorySource(content)) == StoredObject(100, checksum(content))
    source = MemorySource(content)
    store.put("k", source, checksum=checksum(content))
    after = (root / "k").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert source.bytes_read == 0, "a known checksum spares even the reading"


@pytest.mark.parametrize("other", [b"y" * 100, b"y" * 99])
def test_other_bytes_under_the_same_key_replace_the_object(
    store: DirectoryStore, root: Path, other: bytes
) -> None:
    store.put("k", MemorySource(b"x" * 100))
    store.put("k", MemorySource(other))
    assert (root / "k").read_bytes() == other


def test_bytes_with_a_wrong_checksum_are_never_seen_in_the_store(store: DirectoryStore, root: Path) -> None:
    with pytest.raises(TemporaryUploadError, match=r"has checksum sha256:.*, the request says sha256:0+"):
        store.put("k", MemorySource(b"x"), checksum="sha256:" + "0" * 64)
    assert not (root / "k").exists()
    assert leftovers(root) == []


def test_a_wrong_checksum_leaves_the_object_that_is_there_alone(store: DirectoryStore, root: Path) -> None:
    store.put("k", MemorySource(b"x"))
    with pytest.raises(TemporaryUploadError):
        store.put("k", MemorySource(b"y"), checksum="sha256:" + "0" * 64)
    assert (root / "k").read_bytes() == b"x"


def test_a_source_that_changed_is_not_stored(store: DirectoryStore, root: Path) -> None:
    with pytest.raises(TemporaryUploadError, match="changed"):
        store.put("k", MemorySource(b"x", changed=True))
    assert not (root / "k").exists()
    assert leftovers(root) == []


def test_an_upload_can_be_stopped_between_two_chunks(store: DirectoryStore, root: Path) -> None:
    moved: list[int] = []

    def pace(count: int) -> None:
        moved.append(count)
        if len(moved) == 3:
            raise TemporaryUploadError("stopped")

    with pytest.raises(TemporaryUploadError, match="stopped"):
        store.put("k", MemorySource(b"x" * 1000), pace=pace, chunk_bytes=10)
    assert moved == [10, 10, 10]
    assert not (root / "k").exists()
    assert leftovers(root) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_outage_and_no_uploads_fault(
    store: DirectoryStore, root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        StoreUnavailableError, match=f"disk of the destination {root} is full: cannot store k"
    ):
        store.put("k", MemorySource(b"x"))
    monkeypatch.undo()
    assert leftovers(root) == []


def test_what_does_not_fit_on_the_disk_is_an_outage_before_a_byte_is_written(
    store: DirectoryStore, root: Path
) -> None:
    source = MemorySource(b"x")
    source.size = 2**60
    with pytest.raises(
        StoreUnavailableError, match=r"is full: [\d,]+ bytes are free, 1,152,921,504,606,846,976"
    ):
        store.put("k", source)
    assert source.bytes_read == 0
    assert leftovers(root) == []


def test_a_folder_that_is_gone_is_an_outage_until_it_is_back(store: DirectoryStore, root: Path) -> None:
    shutil.rmtree(root)
    for key in ("k", "below/k"):
        with pytest.raises(StoreUnavailableError, match=f"the destination {root} is not there: No such file"):
            store.put(key, MemorySource(b"x"))
    with pytest.raises(StoreUnavailableError, match="is not there"):
        store.head("k")
    root.mkdir()
    store.put("k", MemorySource(b"x"))
    assert (root / "k").read_bytes() == b"x"
    assert leftovers(root) == []


def test_a_folder_made_anew_or_mounted_again_is_used_without_a_restart(
    store: DirectoryStore, root: Path
) -> None:
    before = descriptors()
    for _ in range(3):
        root.rename(root.with_name("old"))
        root.mkdir()
        store.put("below/k", MemorySource(b"x"))
        assert (root / "below/k").read_bytes() == b"x"
        shutil.rmtree(root.with_name("old"))
    assert descriptors() == before


def test_the_stores_own_folder_may_be_removed_while_workers_are_idle(
    store: DirectoryStore, root: Path
) -> None:
    """`upswell upload` removes it at its end, where it is empty."""
    (root / PRIVATE).rmdir()
    store.put("k", MemorySource(b"x"))
    assert (root / "k").read_bytes() == b"x"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_the_empty_folder_below_a_mount_that_is_away_is_not_written_to(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as mounted:
        mount = tmp_path / "mount"
        mount.symlink_to(mounted)
        store = DirectoryStore(mount)
        store.put("k", MemorySource(b"x"))
        mount.unlink()
        mount.mkdir()
        for _ in range(2):
            with pytest.raises(
                StoreUnavailableError, match=r"is on another file system than before.*is it mounted"
            ):
                store.put("k2", MemorySource(b"x"))
            DirectoryStore(mount)  # a publisher that looks into it makes the store's own folder
        assert not (mount / "k2").exists()
        shutil.rmtree(mount)
        mount.symlink_to(mounted)
        store.put("k2", MemorySource(b"x"))
        assert (Path(mounted) / "k2").read_bytes() == b"x"


def test_uploads_under_way_in_a_folder_that_is_replaced_reach_no_other_file(
    store: DirectoryStore, root: Path
) -> None:
    """Their descriptors stay theirs: a number that is closed is the next file's."""
    replaced = threading.Event()

    def pace(_count: int) -> None:
        if not replaced.is_set():
            replaced.set()
            root.rename(root.with_name("old"))
            root.mkdir()
            store.put("other", MemorySource(b"other"))

    store.put("k", MemorySource(b"x" * 100), pace=pace)
    assert (root.with_name("old") / "k").read_bytes() == b"x" * 100
    assert sorted(path.name for path in root.iterdir()) == [PRIVATE, "other"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ESTALE, errno.ENOTCONN])
def test_a_file_system_that_is_gone_is_an_outage(
    store: DirectoryStore, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", gone)
    with pytest.raises(StoreUnavailableError, match="is not there"):
        store.put("k", MemorySource(b"x"))


@pytest.mark.parametrize(
    ("mode", "umask", "becomes"),
    [
        (0o600, 0o022, 0o600),
        (0o644, 0o022, 0o644),
        (0o640, 0o022, 0o640),
        (0o755, 0o022, 0o644),
        (0o400, 0o022, 0o600),
        (0o666, 0o002, 0o664),
        (0o644, 0o077, 0o600),
    ],
)
def test_an_object_is_readable_by_nobody_who_may_not_read_its_source(
    root: Path, tmp_path: Path, mode: int, umask: int, becomes: int
) -> None:
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "source").chmod(mode)
    before = os.umask(umask)
    try:
        with open_file((tmp_path / "source").as_uri(), [tmp_path]) as source:
            DirectoryStore(root).put("k", source)
    finally:
        os.umask(before)
    assert (root / "k").stat().st_mode & 0o777 == becomes


def test_what_is_not_read_back_the_same_is_not_stored(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses bytes: write() says yes and the object is short."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda target, chunk: real(target, chunk[:-1]) + 1)
    with pytest.raises(TemporaryUploadError, match="read back 9 bytes"):
        store.put("k", MemorySource(b"0123456789"))
    assert not (root / "k").exists()


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("object/below", "must not lead through another object"),
        ("folder", "must not be the folder of other objects"),
        ("out/stolen", "must not lead through a symbolic link"),
        ("../x", "must be relative"),
        (".upswell-tmp/x", "own folder"),
    ],
)
def test_a_key_that_cannot_be_is_a_permanent_error(
    store: DirectoryStore, root: Path, tmp_path: Path, key: str, rule: str
) -> None:
    store.put("object", MemorySource(b"x"))
    store.put("folder/object", MemorySource(b"x"))
    (tmp_path / "elsewhere").mkdir()
    (root / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermanentUploadError, match=rule):
        store.put(key, MemorySource(b"y"))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (root / "object").read_bytes() == b"x"


def test_a_link_in_an_objects_place_is_replaced_and_never_written_through(
    store: DirectoryStore, root: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"y")
    (root / "k").symlink_to(victim)
    store.put("k", MemorySource(b"y"))
    assert victim.read_bytes() == b"y"
    assert not (root / "k").is_symlink()


def test_a_fifo_in_an_objects_place_hangs_nobody(store: DirectoryStore, root: Path) -> None:
    os.mkfifo(root / "k")
    store.put("k", MemorySource(b"x"))
    assert (root / "k").read_bytes() == b"x"


def test_many_writers_of_one_key_leave_one_whole_object(store: DirectoryStore, root: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    writers = [
        threading.Thread(target=lambda c=content: store.put("a/b/k", MemorySource(c), chunk_bytes=999))
        for content in contents
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (root / "a/b/k").read_bytes() in contents
    assert leftovers(root) == []


def test_what_a_killed_worker_left_is_swept_out_and_what_is_being_written_is_not(root: Path) -> None:
    DirectoryStore(root)
    for name in ("killed", "writing", "fresh"):
        (root / PRIVATE / name).write_bytes(b"half")
    hour_ago = time.time() - 3600
    for name in ("killed", "writing"):
        os.utime(root / PRIVATE / name, (hour_ago, hour_ago))
    with (root / PRIVATE / "writing").open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        DirectoryStore(root)
        assert sorted(leftovers(root)) == ["fresh", "writing"]


def test_a_link_in_place_of_the_stores_own_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / PRIVATE).symlink_to("/tmp")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        DirectoryStore(tmp_path)


def test_a_put_leaves_no_descriptor_behind(store: DirectoryStore) -> None:
    before = descriptors()
    store.put("a/b", MemorySource(b"x"))
    store.put("a/b", MemorySource(b"x"))
    with pytest.raises(PermanentUploadError):
        store.put("a/b/c", MemorySource(b"x"))
    assert descriptors() == before
