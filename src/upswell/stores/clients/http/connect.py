"""Connecting to the host of a URL, at an address that the settings allow.

What comes in: a URL from a message, or from a redirect. What goes out: a connected socket. It must not know
what is sent over it.

The name is resolved here, once, and the address that was checked is the one that is connected to: a name that
answers differently a moment later (DNS rebinding) gains nothing. The environment's proxies are not used: a
proxy would resolve the name, and could not be held to any of this.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

from upswell.errors import PermanentUploadError
from upswell.stores.clients.http.addresses import is_allowed, is_own, refusal

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from upswell.stores.clients.http.addresses import Network
    from upswell.stores.clients.http.url import Url

    AddressInfo = tuple[int, int, int, str, Any]


def connect(
    url: Url,
    allowed: Sequence[Network],
    timeout: float,
    *,
    tls: ssl.SSLContext | None,
) -> socket.socket:
    """Return a socket connected to `url`'s host, over TLS where a context is given.

    All addresses together may take `timeout` seconds, and so may the handshake.

    Raises:
        PermanentUploadError: every address of the host is refused.
        OSError: the host is unknown or cannot be reached; ssl.SSLError: it is not who it should be.
    """
    found: Sequence[AddressInfo] = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    plain = _connect_first(url, _checked(url, found, allowed), time.monotonic() + timeout)
    if tls is None:
        return plain
    try:
        plain.settimeout(timeout)
        return tls.wrap_socket(plain, server_hostname=url.host.rstrip("."))
    except BaseException:
        plain.close()
        raise


def _checked(url: Url, found: Sequence[AddressInfo], allowed: Sequence[Network]) -> list[AddressInfo]:
    """Return the addresses that may be connected to: at least one, or a PermanentUploadError says why not."""
    good: list[AddressInfo] = []
    refused = ""
    for info in found:
        family, _type, _protocol, _name, address = info
        kind = refusal(address[0], allowed)
        if kind is None and not is_allowed(address[0], allowed) and is_own(address, family):
            kind = "this machine's own address"
        if kind is None:
            good.append(info)
        else:
            refused = f"{address[0]}, {kind}"
    if not good:
        raise PermanentUploadError(
            "an http source must have a public address, or one in source_networks, "
            f"got {url.host}, which is {refused}"
        )
    return good


def _connect_first(url: Url, infos: list[AddressInfo], deadline: float) -> socket.socket:
    failure: OSError = TimeoutError(f"no address of {url.host} answered in time")
    for number, (family, kind, protocol, _name, address) in enumerate(infos):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(
                left / (len(infos) - number)
            )  # one that is silent leaves time for the others
            connection.connect(address)
        except OSError as error:
            failure = error
            connection.close()
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise failure
