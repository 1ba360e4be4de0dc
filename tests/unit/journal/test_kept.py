"""What was set by hand outlives the process that it was told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.errors import JournalError
from upswell.journal import KeptByApp
from upswell.messages import ByHand

if TYPE_CHECKING:
    from pathlib import Path

FIVE = ByHand(workers=5, by="anna@host", until=99.0)


def kept(path: Path) -> KeptByApp[ByHand]:
    return KeptByApp(path / "state" / "by_hand.json", ByHand)


def test_what_is_kept_is_there_after_a_restart_and_what_was_taken_back_is_not(tmp_path: Path) -> None:
    first = kept(tmp_path)
    first.keep("a1", FIVE)
    first.keep("b2", FIVE)
    first.keep("b2", None)
    assert dict(kept(tmp_path)) == {"a1": FIVE}
    assert kept(tmp_path).get("b2") is None


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    """The scaler calls it in every round."""
    first = kept(tmp_path)
    first.keep("a1", None)
    assert not (tmp_path / "state").exists()
    first.keep("a1", FIVE)
    (tmp_path / "state" / "by_hand.json").unlink()
    first.keep("a1", FIVE)
    assert not (tmp_path / "state" / "by_hand.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a1": {"workers": -1, "by": "x"}}', b"\xff"])
def test_a_file_that_cannot_be_read_is_named_and_not_taken_for_nothing_set(
    content: bytes, tmp_path: Path
) -> None:
    """A paused application must not run because of a damaged file."""
    path = tmp_path / "by_hand.json"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"by_hand\.json holds what was set by hand and cannot be read"):
        KeptByApp(path, ByHand)


def test_what_cannot_be_written_is_refused_and_what_was_kept_stays(tmp_path: Path) -> None:
    first = kept(tmp_path)
    first.keep("a1", FIVE)
    (tmp_path / "state" / "by_hand.new").mkdir()  # whoever runs the tests, root too, cannot write to this
    with pytest.raises(JournalError, match="cannot be kept"):
        first.keep("a1", None)
    assert first.get("a1") == FIVE
    assert dict(kept(tmp_path)) == {"a1": FIVE}
