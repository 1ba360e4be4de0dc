"""`s3://bucket/prefix/` -> the objects below it, a page at a time.

What comes in: a URI that a person typed. What goes out: things with relative names as keys. It needs the
right to list; the workers, who read, need theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.errors import UpswellError
from upswell.publisher.items import Thing
from upswell.stores.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.settings import Settings


def list_objects(settings: Settings, uri: str) -> Iterator[Thing]:
    """Yield the objects below a URI, in the store's order; the object itself where the URI names one.

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
    for listed in bucket.list(prefix):
        found = True
        relative = listed.key[len(prefix) :].lstrip("/")
        version = listed.etag or ""
        yield Thing(uri=f"{top}/{listed.key}", key=relative, size=listed.size, version=version)
    if found:
        return
    single = bucket.stat(prefix) if prefix and not uri.endswith("/") else None
    if single is None:
        raise UpswellError(f"no objects below {uri}")
    key = prefix.rpartition("/")[2]
    yield Thing(uri=f"{top}/{prefix}", key=key, size=single.size, version=single.etag or "")
