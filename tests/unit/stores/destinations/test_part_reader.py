from __future__ import annotations

import gc
import hashlib
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import TemporaryUploadError
from upswell.stores.destinations.part_reader import MAX_PARTS, MIN_PART_BYTES, PartReader, part_size
from upswell.stores.protocol import unpaced
from upswell.testing.memory_source import MemorySource, checksum


def parts(source: MemorySource, part_bytes: int = 10, chunk_bytes: int = 4) -> PartReader:
    return PartReader(source, part_bytes=part_bytes, pace=unpaced, chunk_bytes=chunk_bytes, md5=True)


@given(size=st.integers(0, 5 * 1024**4), usual=st.integers(1, 5 * 1024**3))
def test_every_object_of_up_to_5_tib_fits_into_the_parts_that_s3_takes(size: int, usual: int) -> None:
    part = part_size(size, usual)
    assert part * MAX_PARTS >= size
    assert part >= MIN_PART_BYTES


@given(
    content=st.binary(max_size=64),
    part_bytes=st.integers(1, 20),
    chunk_bytes=st.integers(1, 20),
    tells=st.booleans(),
)
def test_the_parts_together_are_the_source(
    content: bytes, part_bytes: int, chunk_bytes: int, tells: bool
) -> None:
    reading = parts(MemorySource(content, tells_size=tells), part_bytes, chunk_bytes)
    reading.first()
    found = [bytes(part) for part in reading.rest()]
    assert b"".join(found) == content
    assert all(len(part) == part_bytes for part in found[:-1])
    assert reading.check(None).checksum == checksum(content)


def test_etags_are_those_that_s3_gives() -> None:
    small = parts(MemorySource(b"12345"))
    small.first()
    assert small.has_etag(hashlib.md5(b"12345").hexdigest())
    assert not small.has_etag(hashlib.md5(b"12346").hexdigest())
    large = parts(MemorySource(b"1234567890abc"))
    list(large.rest())
    sums = hashlib.md5(b"1234567890").digest() + hashlib.md5(b"abc").digest()
    assert large.has_etag(f"{hashlib.md5(sums).hexdigest()}-2")
    assert not large.has_etag(hashlib.md5(b"1234567890abc").hexdigest())
    assert not large.has_etag(None)


def test_a_part_is_in_memory_no_longer_than_its_receiver_keeps_it() -> None:
    """Else a worker would hold more than slots x parts_in_flight x part_size."""
    reading = parts(MemorySource(bytes(35)))
    reading.first()
    alive: list[weakref.ref[object]] = []
    most = 0
    for part in reading.rest():
        alive.append(weakref.ref(part))
        del part
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) == 4
    assert most <= 1


def test_each_chunk_is_announced_before_it_is_read() -> None:
    announced: list[int] = []
    source = MemorySource(bytes(10))

    def pace(count: int) -> None:
        announced.append(count)
        assert source.bytes_read == sum(announced[:-1])

    reading = PartReader(source, part_bytes=10, pace=pace, chunk_bytes=4, md5=False)
    reading.first()
    assert announced == [4, 4, 2]


def test_what_a_source_does_not_give_at_once_is_announced_once() -> None:
    """A web server's 256 KiB at a time: counted again and again they would make a rate limit a quarter."""

    class Slow(MemorySource):
        def readinto(self, target: memoryview) -> int:
            return super().readinto(target[:3])

    announced: list[int] = []
    reading = PartReader(Slow(bytes(25)), part_bytes=10, pace=announced.append, chunk_bytes=8, md5=False)
    assert sum(map(len, reading.rest())) == 25
    assert sum(announced) == 25


def test_a_source_shorter_than_it_said_is_refused() -> None:
    source = MemorySource(b"123")
    source.size = 5
    reading = parts(source)
    reading.first()
    with pytest.raises(TemporaryUploadError, match="had 5 bytes when it was opened, read 3"):
        reading.check(None)
