"""From an entry of a request file to an UploadRequest with an id.

What comes in: the bytes of one JSON object, hostile until checked, and its place. What goes out: an
UploadRequest whose id is the same whenever the same entry stands at the same place, so that a file published
twice is stored once. It does not know where the bytes came from.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from upswell.errors import MessageError
from upswell.messages import MAX_MESSAGE_BYTES, UploadRequest
from upswell.requests import id_of_parts, valid_id

_objects = msgspec.json.Decoder(dict[str, Any])
_lists = msgspec.json.Decoder(list[Raw])


class Place(Struct, frozen=True):
    """Where an entry stands: its `unit` ("line" or "entry") counted from 1, and the round of `--repeat`."""

    position: int
    unit: str = "line"
    repetition: int = 0

    def __str__(self) -> str:
        """Return the place as an error names it."""
        return f"{self.unit} {self.position}"


def parse(entry: bytes, *, app_id: str, place: Place, salt: str = "") -> UploadRequest:
    """Return the request that an entry asks for; `app_id` is filled in, and an id made where none is given.

    Args:
        entry: one JSON object with at least `type` and `uri`.
        app_id: the application; an entry that names another is refused.
        place: part of the id, so that two equal entries are two uploads.
        salt: another salt gives other ids, that is, uploads the same file again.

    Raises:
        MessageError: the place, the rule and the value.
    """
    if len(entry) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{place}: an entry must be at most {MAX_MESSAGE_BYTES} bytes, got {len(entry)}")
    try:
        fields = _objects.decode(entry)
        named = fields.setdefault("app_id", app_id)
        request = msgspec.convert(fields, UploadRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        excerpt = ascii(entry[:80].decode("utf-8", "replace"))
        raise MessageError(f"{place}: not a valid upload request: {error}; got {excerpt}") from error
    if named != app_id:
        raise MessageError(f"{place}: app_id must be {app_id!r}, as published, got {named!r}")
    return msgspec.structs.replace(request, id=_id(request, place, salt), published_at=None)


def split_list(document: bytes) -> list[Raw]:
    """Return the entries of a JSON list, each still JSON.

    Raises:
        MessageError: it is no JSON list.
    """
    try:
        return _lists.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"a request file must be a JSON list or JSON lines: {error}") from error


def _id(request: UploadRequest, place: Place, salt: str) -> str:
    """Return the given id (each repetition has its own), or one made of entry, place and salt."""
    if request.id is not None:
        given = f"{request.id}.{place.repetition}" if place.repetition else request.id
        if not valid_id(given):
            raise MessageError(f"{place}: an id must be at most 128 characters, got {given!r}")
        return given
    return id_of_parts(
        request.app_id, request.type, request.uri, request.key, request.size_bytes, request.checksum,
        place.position, place.repetition, salt,
    )  # fmt: skip
