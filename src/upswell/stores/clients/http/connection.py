"""A connection of `http.client`, held to our rules: to the address that was checked, read within limits.

The name is resolved here, once, and the address that was checked is the one that is connected to: a name that
answers differently a moment later (DNS rebinding) gains nothing. The environment's proxies are not used: a
proxy would resolve the name, and could not be held to any of this.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any

from upswell.errors import PermanentUploadError
from upswell.stores.clients.http.addresses import is_allowed, is_own, refusal
from upswell.stores.clients.http.limits import Patience, ReadLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upswell.stores.clients.http.addresses import Network
    from upswell.stores.clients.http.url import Url

    AddressInfo = tuple[int, int, int, str, Any]


class _LimitedSocket(socket.socket):
    limits: ReadLimits | None = None

    def recv_into(self, *args: Any) -> int:  # type: ignore[override] - SocketIO passes the buffer alone
        return _receive(self, super().recv_into, args)


class _LimitedTlsSocket(ssl.SSLSocket):
    limits: ReadLimits | None = None

    def recv_into(self, *args: Any) -> int:  # type: ignore[override] - SocketIO passes the buffer alone
        return _receive(self, super().recv_into, args)


def _receive(connection: _LimitedSocket | _LimitedTlsSocket, recv_into: Any, args: Any) -> int:
    limits = connection.limits
    if limits is None:
        return int(recv_into(*args))
    began = time.monotonic()
    connection.settimeout(limits.wait(began))
    try:
        count = int(recv_into(*args))
    except TimeoutError:
        raise limits.timed_out() from None
    limits.received(time.monotonic() - began, count)
    return count


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities; takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = _LimitedTlsSocket
    return context


class CheckedConnection(HTTPConnection):
    """A connection to a URL's server; only to a public address or one in `networks`, over TLS with `tls`."""

    def __init__(
        self, url: Url, networks: Sequence[Network], patience: Patience, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(url.host, url.port)
        self.server = (url.scheme, url.authority)
        self._networks = networks
        self._patience = patience
        self._tls = tls

    def connect(self) -> None:
        """Connect, and shake hands.

        Raises:
            PermanentUploadError: every address of the host is refused.
            OSError: it cannot be reached; ssl.SSLError: it is not who it should be.
        """
        patience = self._patience
        plain = connect(self.host, self.port, self._networks, patience.connect_timeout)
        try:
            self.sock = (
                self._tls.wrap_socket(plain, server_hostname=self.host.rstrip(".")) if self._tls else plain
            )
        except BaseException:
            plain.close()
            raise

    def ask(self, target: str, headers: Mapping[str, str], give_up_at: float) -> HTTPResponse:
        """Return the answer to a GET, its body unread; reading it ends at `give_up_at` (monotonic).

        Raises:
            TemporaryUploadError: its headers take too long.
            OSError, HTTPException: the connection broke, or it is no HTTP.
        """
        limits = ReadLimits(self._patience, give_up_at)
        try:
            if self.sock is None:
                self.connect()
            connected: Any = self.sock
            connected.limits = limits
            connected.settimeout(self._patience.read_timeout)
            limits.expect_headers(time.monotonic())
            self.request("GET", target, headers=headers)
            response = self.getresponse()
        except BaseException:
            self.close()
            raise
        limits.expect_body()
        return response

    def is_idle(self) -> bool:
        """Return whether nothing came since the last answer: no bytes that nobody asked for, and no end."""
        try:
            self.sock.settimeout(0)
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, AttributeError):  # the latter: it is closed
            return False
        return False

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            super().close()


def connect(host: str, port: int, networks: Sequence[Network], timeout: float) -> socket.socket:
    """Return a socket connected to an allowed address of `host`; `timeout` is for all addresses together.

    Raises:
        PermanentUploadError: every address of the host is refused.
        OSError: the host is unknown or cannot be reached.
    """
    found: Sequence[AddressInfo] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    infos = _checked(host, found, networks)
    deadline = time.monotonic() + timeout
    failure: OSError = TimeoutError(f"no address of {host} answered in time")
    for number, (family, kind, protocol, _name, address) in enumerate(infos):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection = _LimitedSocket(family, kind, protocol)
        try:
            connection.settimeout(left / (len(infos) - number))  # a silent one leaves time for the others
            connection.connect(address)
        except OSError as error:
            failure = error
            connection.close()
        else:
            connection.settimeout(timeout)  # of the handshake
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise failure


def _checked(host: str, found: Sequence[AddressInfo], networks: Sequence[Network]) -> list[AddressInfo]:
    """Return the addresses that may be connected to: at least one."""
    good: list[AddressInfo] = []
    refused = ""
    for info in found:
        family, _type, _protocol, _name, address = info
        kind = refusal(address[0], networks)
        if kind is None and not is_allowed(address[0], networks) and is_own(address, family):
            kind = "this machine's own address"
        if kind is None:
            good.append(info)
        else:
            refused = f"{address[0]}, {kind}"
    if not good:
        raise PermanentUploadError(
            f"the address of {host} is neither public nor in source_networks: {refused}"
        )
    return good
