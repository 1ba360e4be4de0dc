"""The key of an object whose request names none: the same request always gives the same one. Pure."""

from __future__ import annotations

import re

from upswell import messages

_ID_AS_FOLDER = re.compile(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_QUERY = re.compile(r"[?#]")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/]")
_MAX_NAME_BYTES = 200


def default_key(request_id: str, uri: str) -> str:
    """Return the key under which a request's object is stored: its id as a folder, and its source's name.

    >>> default_key("r1", "https://host/a/holiday%20in%20May.mp4?size=full")
    'r1/holiday in May.mp4'
    """
    return f"{_folder(request_id)}/{_name(uri)}"


def _folder(own_id: str) -> str:
    # A folder named like another id would let two requests share an object: what cannot be one is hashed.
    return own_id if _ID_AS_FOLDER.match(own_id) else f"~{messages.request_id(own_id.encode())}"


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
    return name if name not in {"", ".", ".."} else "upload"
