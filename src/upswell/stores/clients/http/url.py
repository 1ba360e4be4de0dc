"""From a hostile text to the URL that is really asked for, and which web servers it may name. Pure.

Taken apart once, by one grammar, and strictly: what the settings are compared with is what is connected to,
so no two readings of one text can be played against each other.
Names only narrow what a message can ask for; the address behind a name is checked when it is connected to.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote, urljoin

from msgspec import Struct

from upswell.errors import PermanentUploadError, SettingsError
from upswell.safe import safe

DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"\A(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"\A(?P<host>[a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>\d{0,5}))?\Z")
_NEVER = re.compile(r"[\x00-\x20\x7f\\]")
"""Neither spaces nor control characters nor backslashes: browsers and libraries disagree on their meaning."""

_ENTRY = re.compile(
    r"\A(?P<scheme>https?)://"
    r"(?P<host>\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d{1,5}|\*))?/?\Z"
)


class Url(Struct, frozen=True):
    """An http or https URL: `host` in lower case and ASCII, `target` the path and query as they are sent."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        """Return the URL in full; a query may hold a signature, so an error shows `safe(str(url))`."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: what the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Return the URL that a text states; its fragment is dropped, non-ASCII characters are encoded.

    Raises:
        PermanentUploadError: no http(s) URL, with a user or password in it, or with an invalid host.
    """
    match = _URL.match(text)
    if match is None or _NEVER.search(text):
        raise _refusal("must be an absolute http(s) URL without spaces, control characters or '\\'", text)
    if "@" in match["authority"]:
        raise _refusal("must not contain a user or password", text)
    scheme = match["scheme"].lower()
    authority = _AUTHORITY.match(_ascii(match["authority"], text))
    if authority is None:
        raise _refusal("must name a host", text)
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 1 << 16:
        raise _refusal("must name a port from 1 to 65535", text)
    try:
        target = quote(match["target"], safe=string.punctuation)
    except UnicodeEncodeError:
        raise _refusal("must be valid Unicode", text) from None
    return Url(scheme, authority["host"].strip("[]"), port, target if target[:1] == "/" else f"/{target}")


def redirected(url: Url, location: str) -> Url:
    """Return where a redirect leads; `location` is the header's text, each byte a character.

    Raises:
        PermanentUploadError: no URL that may be asked for.
    """
    encoded = quote(location.encode("latin-1", "replace"), safe=string.punctuation)
    try:
        return parse_url(urljoin(str(url), encoded))
    except ValueError:  # urljoin's own, of broken brackets
        raise _refusal("must lead to an absolute http(s) URL", location) from None


def _ascii(authority: str, text: str) -> str:
    if authority.isascii():
        return authority.lower()
    host, colon, port = authority.partition(":")
    try:
        return host.encode("idna").decode().lower() + colon + port
    except UnicodeError:
        raise _refusal("must name a host", text) from None


def _refusal(rule: str, text: str) -> PermanentUploadError:
    return PermanentUploadError(f"an http source {rule}, got {safe(text)}")


class Origin(Struct, frozen=True):
    """A scheme, a host (`*`: any, `*.x`: any below x) and a port (None: any)."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Return the origin that an entry of the setting states.

        >>> Origin.parse("https://*.example.org")
        Origin(scheme='https', host='*.example.org', port=443)

        Raises:
            SettingsError: not of that form.
        """
        match = _ENTRY.match(text.lower())
        port = match["port"] if match else None
        if match is None or (port not in {None, "*"} and not 0 < int(port or 0) < 1 << 16):
            raise SettingsError(
                "source_origins must be like https://example.org, https://*.example.org:8443, https://* or "
                f"http://host:*, got {text[:200]!a}"
            )
        scheme = match["scheme"]
        number = None if port == "*" else int(port) if port else DEFAULT_PORTS[scheme]
        return cls(scheme, match["host"].strip("[]"), number)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port or '*'}"
        return f"{self.scheme}://{host}{port}"

    def holds(self, scheme: str, host: str, port: int) -> bool:
        """Return whether a URL of this scheme, host (lower case, ASCII) and port comes from here."""
        if scheme != self.scheme or self.port not in {None, port}:
            return False
        if self.host == "*":
            return True
        name = host.rstrip(".")
        return name.endswith(self.host[1:]) if self.host.startswith("*.") else name == self.host
