"""Which web servers a message may name: scheme, host and port against the setting `source_origins`. Pure.

What comes in: an entry of the setting, or the origin of a hostile URL. What goes out: whether it is allowed.
Names only narrow what a message can ask for; the address behind a name is checked when it is connected to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORTS = {"http": 80, "https": 443}

_ENTRY = re.compile(
    r"\A(?P<scheme>https?)://"
    r"(?P<host>\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d{1,5}|\*))?/?\Z"
)


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


def parse_origins(texts: Sequence[str]) -> list[Origin]:
    """Return the origins of the setting `source_origins`, or raise a SettingsError."""
    return [Origin.parse(text) for text in texts]
