from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from upswell.errors import TemporaryUploadError
from upswell.stores.destinations.directory import DirectoryStore
from upswell.stores.sources.expected_size import held_to
from upswell.testing.memory_source import MemorySource

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.stores.protocol import OpenSource

BODY = b"0123456789"


def source(*, told: bool) -> OpenSource:
    return cast("OpenSource", MemorySource(BODY, tells_size=told))


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [10, None])
def test_a_source_of_the_size_that_was_asked_for_is_stored(
    tmp_path: Path, told: bool, size: int | None
) -> None:
    stored = DirectoryStore(tmp_path).put("k", held_to(source(told=told), size))
    assert stored.bytes == 10


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [0, 9, 11])
def test_one_of_another_size_is_not_stored_told_or_not(tmp_path: Path, told: bool, size: int) -> None:
    with pytest.raises(TemporaryUploadError, match=f"bytes, the request says {size}$"):
        DirectoryStore(tmp_path).put("k", held_to(source(told=told), size))
    assert not (tmp_path / "k").exists()
