"""Text from elsewhere, made safe to print: no secrets, no terminal control characters."""

from __future__ import annotations

import re
from urllib.parse import quote

# One match per URL, from its start to its end: linear in the length of the text.
_URL = re.compile(r"""(\bhttps?://[^\s?'"\\<>]*)(\?)?[^\s'"\\<>]*""", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")  # not anchored to the scheme, for the same reason
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_JSON_ESCAPE = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|/)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_RESERVED = re.compile(r"[\s\x00-\x1f\x7f-\x9f/?#\[\]\\'\"<>]")
_HOST = r"(\[[0-9A-Fa-f:.]*\]|[^\s,:/?#@\[\]\\'\"<>]*)(:\d*)?"
_PLACE = re.compile(rf"{_HOST}(,{_HOST})*([/?#][^\s@]*)?")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def safe(text: str | bytes, limit: int | None = 1000) -> str:
    r"""Return `text` as one line of at most `limit` characters (None: no limit).

    The user and password of every URL are masked, and the query of a web URL, which may contain a signature.
    Control characters become JSON escapes, so that JSON stays valid. Bytes are the body of a message: JSON
    may escape characters of a URL, so these escapes are decoded first.

    >>> safe("two\nlines: amqp://guest:secret@host/vh, https://host/a?signature=1")
    'two\\nlines: amqp://***@host/vh, https://host/a?***'
    >>> safe(rb'{"uri": "https:\/\/me:secret@host\/a?x\u0026signature=1"}')
    '{"uri": "https://***@host/a?***"}'
    """
    if isinstance(text, bytes):
        text = _JSON_ESCAPE.sub(_unescape, text.decode("utf-8", "backslashreplace"))
    text = printable(masked(text))  # masked before truncation: half a password would not match
    return text if limit is None or len(text) <= limit else f"{text[:limit]}…"


def masked(text: str) -> str:
    """Return `text` with the user and password of every URL masked, and the query of a web URL."""
    text = _URL.sub(lambda url: f"{url[1]}?***" if url[2] else url[0], text)
    return _CREDENTIALS.sub("***@", text)


def printable(text: str) -> str:
    """Return `text` with its control characters as JSON escapes."""
    return _NOT_PRINTABLE.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def masked_url(url: str) -> str:
    """Return a server's URL without user and password; where these are unclear, only its scheme.

    >>> masked_url("amqps://me:secret@host:5671/vh"), masked_url("amqp://me:s/cret@host")
    ('amqps://***@host:5671/vh', 'amqp://***')
    """
    if url_fault(url) is None:
        return safe(url)
    scheme = _SCHEME.match(url)
    return f"{scheme[0]}***" if scheme else "***"


def url_fault(url: str) -> str | None:
    """Return which rule a server's URL breaks, without any of its password; None: none.

    A password's own `/` would end the host, and the password would be shown as a path.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "must be a URL that starts with its scheme, such as amqp://"
    rest = url[scheme.end() :]
    user, mark, place = rest.rpartition("@")
    reserved = _RESERVED.search(user) if mark else _SPACE.search(rest)
    if reserved is not None:
        where = "in user and password" if mark else "in it"
        shown = repr(reserved[0]) if reserved[0].isprintable() else "a control character"
        return f"must have {shown} {where} percent-encoded, as {quote(reserved[0], safe='')}"
    if not _PLACE.fullmatch(place):
        return "must be a URL like scheme://user:password@host:port/path"
    return None


def _unescape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1] or "2f", 16))
    return escape[0] if character in '"\\' else character
