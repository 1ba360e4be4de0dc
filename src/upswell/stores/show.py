"""How a URI or a key from a message looks in an error: no credentials, one line, not too long."""

from __future__ import annotations

from upswell.errors import mask


def show(text: str) -> str:
    """Return `text` fit to be read by a person.

    >>> show("https://user:secret@host/a b?signature=1")
    "'https://***@host/a b?***'"
    """
    address, query, _rest = text[:5000].partition("?")
    return ascii(mask(address + (query and "?***"))[:300])
