"""Keys of objects: checked, never repaired, so two keys never become one object; and how to show one."""

from __future__ import annotations

import re

from upswell.errors import PermanentUploadError, mask

MAX_KEY_BYTES = 1024
MAX_COMPONENT_BYTES = 255
PRIVATE = ".upswell-tmp"
"""The store's own folder, for objects that are not whole yet."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_A_NAME = frozenset({"", ".", ".."})


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
        raise _refusal("must be valid Unicode", key) from None
    if not 0 < length <= MAX_KEY_BYTES:
        raise _refusal(f"must have 1 to {MAX_KEY_BYTES} bytes", key)
    if _CONTROL.search(key):
        raise _refusal("must have no control characters", key)
    components = key.split("/")
    if not _NOT_A_NAME.isdisjoint(components):
        raise _refusal("must be relative, without empty, '.' or '..' components", key)
    if length > MAX_COMPONENT_BYTES and any(
        len(component.encode()) > MAX_COMPONENT_BYTES for component in components
    ):
        raise _refusal(f"must have at most {MAX_COMPONENT_BYTES} bytes between two slashes", key)
    if components[0] == PRIVATE:
        raise _refusal(f"must not start with {PRIVATE}, the store's own folder", key)
    return components


def _refusal(rule: str, key: str) -> PermanentUploadError:
    return PermanentUploadError(f"an object's key {rule}, got {key[:200]!a}")


def show(text: str) -> str:
    """Return `text` fit to be read by a person.

    >>> show("https://user:secret@host/a b?signature=1")
    "'https://***@host/a b?***'"
    """
    address, query, _rest = text[:5000].partition("?")
    return ascii(mask(address + (query and "?***"))[:300])
