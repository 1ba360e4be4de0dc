"""Which request is which: every id and every key of an object is derived here.

The same request always has the same id and key, at each attempt and each time it is published: an upload done
twice is stored once. Keys are checked, never repaired, so that two of them never become one object. Pure.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from upswell.errors import MessageError, PermanentUploadError
from upswell.messages import MAX_MESSAGE_BYTES, REQUEST_ID_PATTERN, UploadRequest, check_app_id

MAX_KEY_BYTES = 1024
MAX_COMPONENT_BYTES = 255
PRIVATE = ".upswell-tmp"
"""The store's own folder, for objects that are not whole yet."""

_ID = re.compile(REQUEST_ID_PATTERN)
_ID_AS_FOLDER = re.compile(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_QUERY = re.compile(r"[?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/]")
_NOT_A_NAME = frozenset({"", ".", ".."})
_MAX_NAME_BYTES = 200


def id_of_body(body: bytes) -> str:
    """Return the id of a request that came without one: the same bytes always have the same id."""
    return hashlib.sha256(body).hexdigest()[:32]


def id_of_parts(*parts: str | int | None) -> str:
    """Return the id of something to upload, made of what tells it from everything else."""
    return id_of_body(msgspec.json.encode(parts))


def valid_id(text: object) -> str | None:
    """Return `text` if it can be a request's id, else None."""
    return text if isinstance(text, str) and _ID.match(text) else None


def complete(request: UploadRequest, message_id: str | None, body: bytes) -> tuple[UploadRequest, bool]:
    """Return the request with its id and key filled in, and whether its publisher gave it an id.

    The id is the request's own, else that of its message, else one made of its `body`.
    """
    if request.id is not None and request.key is not None:
        return request, True
    given = request.id or valid_id(message_id)
    own_id = given or id_of_body(body)
    return replace(request, id=own_id, key=request.key or default_key(own_id, request.uri)), given is not None


def key_of(request: UploadRequest) -> str:
    """Return the key that a worker stores a request under; the request must have an id."""
    assert request.id is not None
    return request.key or default_key(request.id, request.uri)


def identity(request: UploadRequest) -> int:
    """Return a number that differs for two requests that ask for different things under one id."""
    return hash((request.uri, request.key, request.checksum, request.size_bytes))


def named_in(body: bytes, message_id: str | None) -> tuple[bool, str | None]:
    """Return whether an invalid request names a valid application at least, and its id if it has one."""
    found: dict[str, Any] = {}
    if len(body) <= MAX_MESSAGE_BYTES:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = msgspec.json.decode(body, type=dict[str, Any])
    try:
        check_app_id(found.get("app_id", ""))
    except (MessageError, TypeError):
        return False, None
    return True, valid_id(found.get("id")) or valid_id(message_id)


def default_key(request_id: str, uri: str) -> str:
    """Return the key of a request that names none: its id as a folder, and its source's name.

    >>> default_key("r1", "https://host/a/holiday%20in%20May.mp4?size=full")
    'r1/holiday in May.mp4'
    """
    # A folder named like another id would let two requests share an object: an unfit id is hashed.
    folder = request_id if _ID_AS_FOLDER.match(request_id) else f"~{id_of_body(request_id.encode())}"
    return f"{folder}/{_name(uri)}"


def _name(uri: str) -> str:
    """Return the last part of a URI's path, fit to be an object's name."""
    name = uri[uri.rfind("/") + 1 :]
    if _PLAIN_NAME.fullmatch(name):
        return name
    path = _QUERY.split(uri.partition("://")[2] or uri, maxsplit=1)[0].rstrip("/")
    name = path.rpartition("/")[2]
    if "%" in name:
        from urllib.parse import unquote  # noqa: PLC0415 - seldom needed

        name = unquote(name)
    name = _NOT_IN_NAMES.sub("_", name)
    name = name.encode("utf-8", "replace")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return "upload" if name in _NOT_A_NAME else name


def split_key(key: str) -> list[str]:
    """Return a key's components, the last of them the object's name; Unicode is kept as it is.

    >>> split_key("e123456/2026/holiday.mp4")
    ['e123456', '2026', 'holiday.mp4']

    Raises:
        PermanentUploadError: absolute, with empty, `.` or `..` components or control characters, too long, or
            private.
    """
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise _bad_key("must be valid Unicode", key) from None
    if not 0 < length <= MAX_KEY_BYTES:
        raise _bad_key(f"must have 1 to {MAX_KEY_BYTES} bytes", key)
    if _CONTROL.search(key):
        raise _bad_key("must have no control characters", key)
    components = key.split("/")
    if not _NOT_A_NAME.isdisjoint(components):
        raise _bad_key("must be relative, without empty, '.' or '..' components", key)
    if length > MAX_COMPONENT_BYTES and any(
        len(component.encode()) > MAX_COMPONENT_BYTES for component in components
    ):
        raise _bad_key(f"must have at most {MAX_COMPONENT_BYTES} bytes between two slashes", key)
    if components[0] == PRIVATE:
        raise _bad_key(f"must not start with {PRIVATE}, the store's own folder", key)
    return components


def _bad_key(rule: str, key: str) -> PermanentUploadError:
    return PermanentUploadError(f"an object's key {rule}, got {key[:200]!a}")
