"""What every store promises; see the package."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import pytest

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.stores.protocol import StoredObject
from upswell.testing.memory_source import MemorySource, checksum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.stores.protocol import OnConflict, Store

PART = 5 * 1024 * 1024
SMALL = b"a small object"
LARGE = random.Random(1).randbytes(2 * PART + 12_345)
OTHER_LARGE = random.Random(2).randbytes(len(LARGE))

both_sizes = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
by_both_sizes = pytest.mark.parametrize(
    "content", [b"A SMALL OBJECT", OTHER_LARGE], ids=["by small", "by large"]
)


def stored(content: bytes) -> StoredObject:
    """Return what is said of an object once it is stored."""
    return StoredObject(len(content), checksum(content))


class OpenStore(Protocol):
    """Opens the same store anew, with another setting `on_conflict`."""

    def __call__(self, *, on_conflict: OnConflict = "overwrite") -> Store: ...


class Contents(Protocol):
    """Tells what is kept under each key, read with something else than the store where there is such."""

    def __call__(self) -> Mapping[str, StoredObject]: ...


class StoreContract:
    """Derive a class from this one and give it the fixtures `open_store` and `contents`.

    The store is empty at the start of each test. Objects of up to 16 MB are stored. Where of two that write
    one key at once neither mixes with the other, derive from `WritersContract`, too.
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Return what opens the store."""
        raise NotImplementedError

    @pytest.fixture
    def contents(self) -> Contents:
        """Return what tells all that is kept in it."""
        raise NotImplementedError

    @pytest.mark.parametrize("size", [0, 1, 65_536, PART - 1, PART, PART + 1, 3 * PART])
    def test_an_object_is_stored_whole_with_its_length_and_checksum(
        self, open_store: OpenStore, contents: Contents, size: int
    ) -> None:
        content = random.Random(size).randbytes(size)
        assert open_store().put("a/b.bin", MemorySource(content)) == stored(content)
        assert contents() == {"a/b.bin": stored(content)}

    @both_sizes
    def test_a_source_need_not_tell_its_size(
        self, open_store: OpenStore, contents: Contents, content: bytes
    ) -> None:
        assert open_store().put("x", MemorySource(content, tells_size=False)) == stored(content)
        assert contents() == {"x": stored(content)}

    @pytest.mark.parametrize(
        "key", ["ü/日本 語.txt", "a b+c&d=e", "100%25 & more%", "q?x=1#y", "~(a)'[b]!@$,;", "Ünïcode/é"]
    )
    def test_a_key_is_kept_as_it_is(self, open_store: OpenStore, contents: Contents, key: str) -> None:
        store = open_store()
        store.put(key, MemorySource(SMALL))
        assert contents() == {key: stored(SMALL)}
        assert store.digest(key) == stored(SMALL)

    @pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "a/", "a\x00b", "x" * 1025])
    def test_a_key_that_breaks_the_rules_is_refused(
        self, open_store: OpenStore, contents: Contents, key: str
    ) -> None:
        with pytest.raises(PermanentUploadError, match="an object's key must"):
            open_store().put(key, MemorySource(SMALL))
        assert contents() == {}

    def test_what_is_there_can_be_asked_for(self, open_store: OpenStore) -> None:
        store = open_store()
        assert store.head("x") is None
        assert store.digest("x") is None
        store.put("x", MemorySource(SMALL))
        found = store.head("x")
        assert found is not None
        assert found.bytes == len(SMALL)
        assert found.checksum in {None, checksum(SMALL)}
        assert store.digest("x") == stored(SMALL)

    @both_sizes
    @pytest.mark.parametrize("tells", [True, False], ids=["checksum", "no checksum"])
    def test_an_upload_may_be_done_twice(
        self, open_store: OpenStore, contents: Contents, content: bytes, tells: bool
    ) -> None:
        known = checksum(content) if tells else None
        for again in (False, True):
            done = open_store().put("x", MemorySource(content), checksum=known, again=again)
            assert done == stored(content)
        assert contents() == {"x": stored(content)}

    @both_sizes
    def test_bytes_with_a_wrong_checksum_are_never_seen(
        self, open_store: OpenStore, contents: Contents, content: bytes
    ) -> None:
        with pytest.raises(TemporaryUploadError, match="the request says"):
            open_store().put("x", MemorySource(content), checksum=checksum(b"other"))
        assert contents() == {}

    @both_sizes
    def test_a_source_that_changes_meanwhile_is_not_stored(
        self, open_store: OpenStore, contents: Contents, content: bytes
    ) -> None:
        with pytest.raises(TemporaryUploadError, match="changed during its upload"):
            open_store().put("x", MemorySource(content, changed=True))
        assert contents() == {}

    @both_sizes
    def test_a_source_that_ends_early_is_not_stored(
        self, open_store: OpenStore, contents: Contents, content: bytes
    ) -> None:
        source = MemorySource(content)
        source.size = len(content) + 1
        with pytest.raises(TemporaryUploadError, match="bytes when it was opened, read"):
            open_store().put("x", source)
        assert contents() == {}

    def test_an_upload_can_be_stopped_and_leaves_nothing(
        self, open_store: OpenStore, contents: Contents
    ) -> None:
        moved = 0

        def pace(count: int) -> None:
            nonlocal moved
            moved += count
            if moved > PART + PART // 2:
                raise TemporaryUploadError("the upload was stopped")

        with pytest.raises(TemporaryUploadError, match="stopped"):
            open_store().put("x", MemorySource(LARGE), pace=pace)
        assert contents() == {}

    @pytest.mark.parametrize("there", [SMALL, LARGE], ids=["small", "large"])
    @by_both_sizes
    def test_other_bytes_under_the_key_are_overwritten_by_default(
        self, open_store: OpenStore, contents: Contents, content: bytes, there: bytes
    ) -> None:
        open_store().put("x", MemorySource(there))
        assert open_store().put("x", MemorySource(content)) == stored(content)
        assert contents() == {"x": stored(content)}

    @by_both_sizes
    def test_other_bytes_under_the_key_stay_where_conflicts_are_skipped(
        self, open_store: OpenStore, contents: Contents, content: bytes
    ) -> None:
        open_store().put("x", MemorySource(SMALL))
        assert open_store(on_conflict="skip").put("x", MemorySource(content)).bytes == len(SMALL)
        assert contents() == {"x": stored(SMALL)}

    @pytest.mark.parametrize("there", [SMALL, LARGE], ids=["small", "large"])
    @by_both_sizes
    def test_other_bytes_under_the_key_fail_an_upload_where_conflicts_fail(
        self, open_store: OpenStore, contents: Contents, content: bytes, there: bytes
    ) -> None:
        open_store().put("x", MemorySource(there))
        with pytest.raises(PermanentUploadError, match="already exists with different content"):
            open_store(on_conflict="fail").put("x", MemorySource(content))
        assert contents() == {"x": stored(there)}

    @both_sizes
    @pytest.mark.parametrize("on_conflict", ["skip", "fail"])
    def test_the_same_bytes_are_no_conflict(
        self, open_store: OpenStore, contents: Contents, content: bytes, on_conflict: OnConflict
    ) -> None:
        open_store().put("x", MemorySource(content))
        assert open_store(on_conflict=on_conflict).put("x", MemorySource(content)).bytes == len(content)
        assert contents() == {"x": stored(content)}


class WritersContract:
    """What holds where several write one key at once; with the fixtures of `StoreContract`."""

    def test_many_writers_of_one_key_leave_one_whole_object(
        self, open_store: OpenStore, contents: Contents
    ) -> None:
        store = open_store()
        written = [bytes([number]) * 100_000 for number in range(8)]

        def write(content: bytes) -> None:
            with suppress(TemporaryUploadError):  # finding another's object instead, it would be tried again
                store.put("x", MemorySource(content))

        threads = [threading.Thread(target=write, args=(content,)) for content in written]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = contents()
        assert found.keys() == {"x"}
        assert found["x"] in [stored(content) for content in written]
