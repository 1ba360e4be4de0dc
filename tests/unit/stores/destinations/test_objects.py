"""A large upload to S3 removes none that another began meanwhile or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from upswell.settings import Settings
from upswell.stores.destinations import objects, turns
from upswell.stores.destinations.objects import ObjectStore
from upswell.testing.memory_source import MemorySource
from upswell.testing.stores import LARGE, PART

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Bucket:
    """A bucket on S3 in which another begins an upload of the same key at a chosen moment."""

    name, scheme, is_encrypted = "b", "s3", False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: str, on_conflict: str) -> None:
        self.settings = Settings(
            on_conflict=on_conflict,  # type: ignore[arg-type] - one of the three
            stores={"objects": {"part_size": PART}},
        )
        self.moment = moment
        self.unfinished: dict[str, int] = {}
        self.aborted: list[str] = []
        monkeypatch.setattr(objects, "refuses_damaged_parts", lambda *_: True)
        monkeypatch.setattr(objects, "put_new_parts", lambda _bucket, key, parts, *_, **__: self.take(parts))
        monkeypatch.setattr(turns, "unfinished_uploads", lambda *_: dict(self.unfinished))
        monkeypatch.setattr(turns, "abort_uploads", lambda _bucket, _key, ids, _settings: self.abort(ids))

    def stat(self, _key: str) -> None:
        """Say that there is no object."""

    def put_parts(self, _key: str, parts: Iterator[memoryview], *_: Any, **__: Any) -> str:
        """Take the parts of a large object."""
        return self.take(parts)

    def take(self, parts: Iterator[memoryview]) -> str:
        """Begin an upload, take its parts and complete it."""
        self.unfinished["ours"] = 0
        for _part in parts:
            self.unfinished["ours"] += 1
            self.begin_another("during")
        del self.unfinished["ours"]
        self.unfinished = dict.fromkeys(self.unfinished, 1)  # by now it has a part
        self.begin_another("after")
        return "etag"

    def begin_another(self, moment: str) -> None:
        """Begin another's upload where it is the moment."""
        if moment == self.moment:
            self.unfinished["another's"] = 0

    def abort(self, ids: Iterable[str]) -> None:
        """Remember which were aborted."""
        self.aborted.extend(ids)


@pytest.mark.parametrize("on_conflict", ["overwrite", "skip"])
@pytest.mark.parametrize("moment", ["after", "during"])
def test_an_upload_that_another_has_just_begun_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, on_conflict: str, moment: str
) -> None:
    bucket = Bucket(monkeypatch, moment, on_conflict)
    ObjectStore(bucket, "").put("k", MemorySource(LARGE))  # type: ignore[arg-type] - all that is asked of it
    assert bucket.unfinished.keys() == {"another's"}
    assert bucket.aborted == []
