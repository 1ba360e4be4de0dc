from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.broker.protocol import Delivery
from upswell.errors import MessageError
from upswell.requests import identity, named_in, split_key
from upswell.worker.upload import Upload, read_request


def delivery(fields: dict[str, Any] | bytes, message_id: str | None = None) -> Delivery:
    body = (
        fields
        if isinstance(fields, bytes)
        else json.dumps({"app_id": "e1", "type": "video", **fields}).encode()
    )
    return Delivery(body=body, queue="q", attempt=1, tag=None, message_id=message_id)


def test_a_request_with_id_and_key_is_taken_as_it_is() -> None:
    request, has_own_id = read_request(delivery({"uri": "file:///x", "id": "r", "key": "a/b"}), "e1")
    assert (request.id, request.key, has_own_id) == ("r", "a/b", True)


def test_a_bare_request_gets_the_same_id_and_key_each_time() -> None:
    bare = {"uri": "file:///x/holiday%20in%20May.mp4"}
    first, has_own_id = read_request(delivery(bare), "e1")
    again, _ = read_request(delivery(bare), "e1")
    assert first == again
    assert not has_own_id
    assert first.key == f"{first.id}/holiday in May.mp4"


@pytest.mark.parametrize(
    ("message_id", "used"),
    [("m-1", True), ("", False), ("with space", False), ("x" * 129, False), ("é", False)],
)
def test_the_message_id_is_the_id_of_a_bare_request_if_it_can_be_one(message_id: str, used: bool) -> None:
    request, has_own_id = read_request(delivery({"uri": "file:///x/v"}, message_id), "e1")
    assert (request.id == message_id, has_own_id) == (used, used)


def test_a_request_of_another_application_is_refused() -> None:
    with pytest.raises(MessageError, match="app_id must be this worker's, e2, got e1"):
        read_request(delivery({"uri": "file:///x"}), "e2")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///a/b.txt", "b.txt"),
        ("file:///a/b.txt?x=/y#z", "b.txt"),
        ("file:///a/", "a"),
        ("file:///", "upload"),
        ("file:///a/..", "upload"),
        ("file:///a/%2e%2e", "upload"),
        ("file:///a/x%2fy%00z", "x_y_z"),
        ("file:///a/caf%C3%A9", "café"),
        ("file:///a/%ff", "�"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_key_ends_in_the_name_of_the_source(uri: str, name: str) -> None:
    request, _ = read_request(delivery({"uri": uri, "id": "r"}), "e1")
    assert request.key == f"r/{name}"


@given(uri=st.text(min_size=1, max_size=600), own_id=st.from_regex(r"\A[\x21-\x7e]{1,128}\Z"))
def test_a_made_key_is_always_a_good_key_with_one_folder(uri: str, own_id: str) -> None:
    """An id like `../../x` must not climb out of the store, and a long name must fit in the file system."""
    try:
        request, _ = read_request(delivery({"uri": uri, "id": own_id}), "e1")
    except MessageError:
        return
    assert len(split_key(str(request.key))) == 2


@given(st.lists(st.from_regex(r"\A[\x21-\x7e]{1,8}\Z"), min_size=2, max_size=2, unique=True))
def test_two_ids_never_share_a_key(ids: list[str]) -> None:
    keys = {read_request(delivery({"uri": "file:///x", "id": own}), "e1")[0].key for own in ids}
    assert len(keys) == 2


def test_two_requests_with_one_id_that_ask_for_different_things_have_two_identities() -> None:
    def of(**fields: Any) -> int:
        return identity(read_request(delivery({"uri": "file:///x", "id": "r", **fields}), "e1")[0])

    assert of() == of(published_at=5.0)
    assert (
        len({of(), of(uri="file:///y"), of(key="k"), of(size_bytes=1), of(checksum="sha256:" + "0" * 64)})
        == 5
    )


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"app_id": "e1", "id": "r"}', (True, "r")),
        (b'{"app_id": "e1", "id": "\\u0000"}', (True, "m")),
        (b'{"app_id": ["e1"]}', (False, None)),
        (b'{"app_id": "e1;"}', (False, None)),
        (b"{}", (False, None)),
        (b"[]", (False, None)),
        (b"\xff", (False, None)),
        (b"[" * 100_000, (False, None)),
        (b'{"app_id": "e1"}' + b" " * 1_048_576, (False, None)),
    ],
)
def test_what_a_refused_message_names(body: bytes, named: tuple[bool, str | None]) -> None:
    assert named_in(body, message_id="m") == named


@pytest.mark.parametrize(
    ("again", "settled"),
    [
        ({"attempt": 2}, True),
        ({"redelivered": True}, True),  # a classic queue counts no attempts
        ({}, False),  # a letter that somebody moved back as it is
        ({"attempt": 2, "body": b"dated anew"}, False),  # retried, and given back by another worker
    ],
)
def test_a_dead_upload_answers_only_for_what_it_held(again: dict[str, Any], settled: bool) -> None:
    held = delivery({"uri": "file:///x", "id": "r"})
    upload, other = (Upload(one, None, 0.0, 0.0) for one in (held, msgspec.structs.replace(held, **again)))
    assert upload.settles(other)
    upload.is_dead = True
    assert upload.settles(other) is settled
