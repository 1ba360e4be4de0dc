"""Things to upload -> UploadRequest: a file of a directory, an object of a store, a URI or path of a list.

What comes in: what was found, with names that may be hostile. What goes out: a request whose id is the same
as long as the thing is the same (name, place, size and time of change), so that publishing again uploads
nothing twice; or a MessageError that says the rule and the value. Names are checked, never repaired: two
files never become one object.
"""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from upswell.errors import MessageError, PermanentUploadError, UploadError, UpswellError
from upswell.messages import UploadRequest
from upswell.requests import id_of_parts, split_key
from upswell.safe import safe
from upswell.stores.addresses import file_uri
from upswell.stores.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.publisher.tree import File
    from upswell.settings import Settings
    from upswell.stores.clients.bucket import Bucket

_TYPES = mimetypes.MimeTypes()
"""Python's own table: the machine's would give the same file another type elsewhere."""

_KNOWN_TYPES = frozenset({"application", "audio", "font", "image", "model", "text", "video"})


class Thing(Struct, frozen=True, kw_only=True):
    """One thing to upload; `key` None lets the worker choose, `size` None: not known.

    `version` differs whenever its bytes may.
    """

    uri: str
    key: str | None = None
    size: int | None = None
    version: str = ""


def file_thing(file: File, prefix: str = "") -> Thing:
    """Return a file of a directory as a thing whose key is `prefix` and its relative name."""
    return Thing(uri=file_uri(file.path), key=prefix + file.name, size=file.size, version=str(file.mtime_ns))


def list_objects(settings: Settings, uri: str) -> Iterator[Thing]:
    """Yield the objects below `s3://bucket/prefix/`, in the store's order, their relative names as keys.

    Where the URI names an object, that one. It needs the right to list; the workers, who read, need theirs.
    The empty objects that mark folders are passed over.

    Raises:
        UpswellError: there is nothing, or the store does not tell.
    """
    scheme, _, rest = uri.partition("://")
    REGISTRY.load(scheme.lower())  # which says what must be installed
    from upswell.stores.clients.bucket import Bucket  # noqa: PLC0415 - only who lists one pays for it

    name, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    top = f"{scheme.lower()}://{name}"
    bucket = Bucket(scheme.lower(), name, settings)
    found = False
    for key, listed in bucket.list(prefix):
        found = True
        relative = key[len(prefix) :].lstrip("/")
        if listed.size == 0 and (not relative or _is_marker(bucket, key)):
            continue
        version = listed.etag or ""
        yield Thing(uri=f"{top}/{key}", key=relative, size=listed.size, version=version)
    if found:
        return
    single = bucket.stat(prefix) if prefix and not uri.endswith("/") else None
    if single is None:
        raise UpswellError(f"no objects below {uri}")
    key = prefix.rpartition("/")[2]
    yield Thing(uri=f"{top}/{prefix}", key=key, size=single.size, version=single.etag or "")


def _is_marker(bucket: Bucket, key: str) -> bool:
    """Return whether what is listed as an empty `key` is `key/`, a folder: lists come without its slash."""
    try:
        there = bucket.stat(key)
    except UploadError:  # whoever lists may have no right to read
        return False
    return there is None or there.size > 0


def request_of(thing: Thing, *, app_id: str, kind: str | None = None, salt: str = "") -> UploadRequest:
    """Return the request to upload a thing; `kind` None goes by its name's ending.

    Raises:
        MessageError: its name cannot be a key, or its URI is too long.
    """
    if thing.key is not None:
        try:
            split_key(thing.key)
        except PermanentUploadError as error:
            raise MessageError(str(error)) from error
    fields = {
        "app_id": app_id,
        "type": kind or guess_type(thing.key or thing.uri),
        "uri": thing.uri,
        "id": id_of_parts(app_id, thing.uri, thing.key, thing.size, thing.version, salt),
        "key": thing.key,
        "size_bytes": thing.size,
    }
    try:
        return msgspec.convert(fields, UploadRequest)
    except msgspec.ValidationError as error:
        raise MessageError(f"not a valid upload request: {error}; got {safe(thing.uri)}") from error


def guess_type(name: str) -> str:
    """Return a MIME type that workers take, by a name's ending; `file` where it tells none.

    >>> guess_type("a/b.JPG"), guess_type("README"), guess_type("mail.eml")
    ('image/jpeg', 'file', 'file')
    """
    found, encoding = _TYPES.guess_type(name.rpartition("/")[2].lower(), strict=True)
    if found is None or encoding is not None or found.partition("/")[0] not in _KNOWN_TYPES:
        return "file"
    return found
