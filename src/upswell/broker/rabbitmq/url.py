"""Where a RabbitMQ server is and how to talk to it: the parts of an AMQP URL.

`amqp://user:password@host:port/vhost?option=value&...`, with `amqps://` for TLS. Every part but the scheme
may be left out: guest, guest, localhost, 5672 (5671 with TLS), the vhost `/` (written `%2F` in a URL). The
nodes of a cluster stand behind each other, `amqp://user:password@one:5672,two:5672,three:5672/vhost`. The
options have the names that RabbitMQ gives them in its own URI specification:

| option | meaning |
|---|---|
| `heartbeat` | seconds without a sign of life that make a connection count as lost (default 20, 0: never) |
| `connection_timeout` | seconds that one attempt to connect may take (default 10) |
| `cacertfile` | file with the certificates that may sign the server's (default: the system's) |
| `certfile`, `keyfile` | this client's own certificate and its key, where the server asks for one |
| `verify` | `verify_peer` (default): the server must prove its name; `verify_none`: it need not |
| `server_name_indication` | the name that the server's certificate must have, when it is not the URL's host |
"""

from __future__ import annotations

import ssl
from typing import cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.registry import nearest
from upswell.safe import masked_url, url_fault

_OPTIONS = (
    "heartbeat",
    "connection_timeout",
    "cacertfile",
    "certfile",
    "keyfile",
    "verify",
    "server_name_indication",
)
_TLS_OPTIONS = frozenset(_OPTIONS[2:])


class Address(Struct, frozen=True, kw_only=True):
    """A parsed URL; times in seconds. `tls` is None for `amqp://`."""

    host: str
    port: int
    vhost: str
    user: str
    password: str
    heartbeat: int
    connection_timeout: float
    tls: ssl.SSLContext | None
    server_name: str

    def __repr__(self) -> str:
        """Return it without user and password."""
        return f"{'amqps' if self.tls else 'amqp'}://***@{self.host}:{self.port}/{self.vhost}"


def parse_all(url: str) -> list[Address]:
    """Return the parts of an AMQP URL for each of its hosts.

    Raises:
        SettingsError: as `parse`; or a host is left out, or named twice.
    """
    fault = url_fault(url)
    if fault is not None or "," not in url:
        return [parse(url)]
    parts = urlsplit(url)
    user, mark, places = parts.netloc.rpartition("@")
    hosts = places.split(",")
    if not all(hosts) or len(set(hosts)) < len(hosts):
        raise SettingsError(f"broker_url must name each host once, got {masked_url(url)}")
    rest = (parts.path, parts.query, parts.fragment)
    return [parse(urlunsplit((parts.scheme, f"{user}{mark}{host}", *rest))) for host in hosts]


def parse(url: str) -> Address:
    """Return the parts of an AMQP URL of one host.

    Raises:
        SettingsError: not such a URL, or an option is unknown or breaks its rule; the password is masked.
    """
    shown = masked_url(url)
    if not url.startswith(("amqp://", "amqps://")):
        raise SettingsError(f"broker_url must start with amqp:// or amqps://, got {shown!r}")
    fault = url_fault(url)
    if fault is not None:
        raise SettingsError(f"broker_url {fault}; got {shown}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may contain the password
        raise SettingsError(
            f"broker_url must have a valid host and a port up to 65535, got {shown}"
        ) from None
    options = _options(parts)
    return Address(
        host=parts.hostname or "localhost",
        port=port or (5671 if parts.scheme == "amqps" else 5672),
        vhost=unquote(parts.path[1:]) or "/",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password if parts.password is not None else "guest"),
        heartbeat=int(_number(options, "heartbeat", 20)),
        connection_timeout=_number(options, "connection_timeout", 10.0) or 10.0,
        tls=_tls(options) if parts.scheme == "amqps" else None,
        server_name=options.get("server_name_indication") or parts.hostname or "localhost",
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise SettingsError(f"unknown option in broker_url: {name}{nearest(name, _OPTIONS)}")
        if name in _TLS_OPTIONS and parts.scheme != "amqps":
            raise SettingsError(f"option {name} in broker_url needs amqps://, got amqp://")
    return options


def _number(options: dict[str, str], name: str, default: float) -> float:
    try:
        number = float(options.get(name, default))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 65535:  # noqa: PLR2004 - what the protocol's 16 bits hold
        raise SettingsError(f"option {name} in broker_url must be 0 to 65535 seconds, got {options[name]!r}")
    return number


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    verify = options.get("verify", "verify_peer")
    if verify not in ("verify_peer", "verify_none"):
        raise SettingsError(f"option verify in broker_url must be verify_peer or verify_none, got {verify!r}")
    try:
        context = ssl.create_default_context(cafile=options.get("cacertfile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except OSError as error:  # ssl.SSLError is one too
        files = {name: options[name] for name in ("cacertfile", "certfile", "keyfile") if name in options}
        raise SettingsError(
            f"TLS files in broker_url must be readable PEM files ({error}), got {files}"
        ) from error
    if verify == "verify_none":
        context.check_hostname = False
        context.verify_mode = cast("ssl.VerifyMode", ssl.CERT_NONE)
    return context
