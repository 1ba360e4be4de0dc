from __future__ import annotations

import pytest

from upswell.errors import MessageError
from upswell.publisher.request_file import Place, parse, split_list

ENTRY = b'{"type": "image", "uri": "file:///data/a.jpg"}'


def test_an_entry_at_the_same_place_always_has_the_same_id() -> None:
    """A crash half way is resumed by publishing the file again: the same ids, hence the same objects."""
    first = parse(ENTRY, app_id="e1", place=Place(3))
    again = parse(b'{"uri":"file:///data/a.jpg","type":"image"}', app_id="e1", place=Place(3))
    assert first == again
    assert first.id is not None


@pytest.mark.parametrize(
    "other",
    [
        {"app_id": "e2", "place": Place(3)},
        {"app_id": "e1", "place": Place(4)},
        {"app_id": "e1", "place": Place(3, repetition=1)},
        {"app_id": "e1", "place": Place(3), "salt": "fresh"},
    ],
)
def test_another_application_place_round_or_salt_gives_another_id(other: dict[str, object]) -> None:
    assert parse(ENTRY, app_id="e1", place=Place(3)).id != parse(ENTRY, **other).id


def test_a_given_id_is_kept_and_each_repetition_has_its_own() -> None:
    entry = b'{"type": "image", "uri": "a", "id": "mine"}'
    assert [parse(entry, app_id="e1", place=Place(1, repetition=r)).id for r in range(3)] == [
        "mine",
        "mine.1",
        "mine.2",
    ]


def test_an_id_that_grows_too_long_by_repetition_is_refused() -> None:
    entry = b'{"type": "image", "uri": "a", "id": "' + b"x" * 128 + b'"}'
    with pytest.raises(MessageError, match="at most 128 characters"):
        parse(entry, app_id="e1", place=Place(1, repetition=1))


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (b"not json", "line 7: not a valid upload request"),
        (b"[1, 2]", "Expected `object`"),
        (b'{"uri": "a"}', "missing required field `type`"),
        (b'{"type": "a", "uri": ""}', "length >= 1"),
        (b'{"type": "a", "uri": 3}', "Expected `str`, got `int`"),
        (b'{"type": "a", "uri": "b", "app_id": "e2"}', "app_id must be 'e1', as published, got 'e2'"),
        (b'{"type": "a", "uri": "b", "app_id": null}', "Expected `str`, got `null`"),
        (b'{"type": "a", "uri": "b", "size_bytes": -1}', ">= 0"),
        (b'{"type": "a", "uri": "b", "size_bytes": NaN}', "malformed"),
        (b'{"type": "a", "uri": "b", "deep": ' + b"[" * 100_000, "recursion"),
        (b'{"type": "a", "uri": "\xff"}', "line 7"),
        (b'{"type": "a", "uri": "' + b"x" * 10 * 1024 * 1024 + b'"}', "at most 1048576 bytes, got 104857"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_place_the_rule_and_the_value(entry: bytes, rule: str) -> None:
    with pytest.raises(MessageError) as caught:
        parse(entry, app_id="e1", place=Place(7))
    assert rule in str(caught.value)
    assert str(caught.value).startswith("line 7: ")
    assert len(str(caught.value)) < 400


def test_a_list_is_split_into_entries_that_are_still_json() -> None:
    assert [bytes(entry) for entry in split_list(b'[{"a": 1}, 2]')] == [b'{"a": 1}', b"2"]


@pytest.mark.parametrize("document", [b"", b"{}", b"[1,", b"[" * 1_000_000])
def test_what_is_no_list_is_refused(document: bytes) -> None:
    with pytest.raises(MessageError, match="must be a JSON list or JSON lines"):
        split_list(document)
