"""Which addresses a worker may connect to when a message names the host. Pure, but for asking who we are.

What comes in: an address that a name was resolved to, and the networks that the settings allow. What goes
out: the rule that it breaks, or None. Called for the very address that is about to be connected to, so a name
that resolves differently a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "an address of a carrier's inner network"),
    ("127.0.0.0/8", "a loopback address"),
    ("168.63.129.16/32", "a cloud's metadata server"),  # Azure's: looks public, and is not
    ("169.254.0.0/16", "a link-local address"),  # the other clouds' metadata servers among them
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "an address for examples"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for examples"),
    ("203.0.113.0/24", "an address for examples"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("::ffff:0:0/96", "an IPv4-mapped address"),
    ("::/96", "an IPv4-compatible address"),
    ("64:ff9b::/96", "a NAT64 address"),
    ("64:ff9b:1::/48", "a NAT64 address"),
    ("100::/64", "a discard address"),
    ("2001::/32", "a Teredo address"),
    ("2001:db8::/32", "an address for examples"),
    ("2002::/16", "a 6to4 address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
    ("ff00::/8", "a multicast address"),
)
"""The first that holds an address says why it is refused; the registries are IANA's special-purpose ones.

A table of our own because `ipaddress.is_global` differs between the releases of Python, lets multicast pass,
and knows neither 6to4 nor NAT64.
"""

_KINDS = tuple((ipaddress.ip_network(network), kind) for network, kind in _REFUSED)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def parse_networks(texts: Sequence[str]) -> list[Network]:
    """Return the networks of the setting `source_networks`.

    Raises:
        SettingsError: one is no network in CIDR form.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise SettingsError(
                f"source_networks must be networks like 10.1.0.0/16 or fd00::/8, got {text[:80]!a}: {error}"
            ) from error
    return networks


def refusal(text: str, allowed: Sequence[Network]) -> str | None:
    """Return what kind of refused address `text` is, or None where it may be connected to.

    >>> refusal("10.0.0.1", [])
    'a private address'
    >>> refusal("10.0.0.1", [ipaddress.ip_network("10.0.0.0/8")]) is None
    True

    An IPv6 address that carries an IPv4 one must be allowed itself, and the one that it carries too.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    kind = _kind(address, allowed)
    if kind is not None:
        return kind
    carried = _carried(address)
    return None if carried is None else _kind(carried, allowed)


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Return whether the settings name a network that holds this address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return any(address in network for network in allowed)


def _kind(address: Address, allowed: Sequence[Network]) -> str | None:
    if any(address in network for network in allowed):
        return None
    for network, kind in _KINDS:
        if address in network:
            return kind
    return None if address.is_global else "a reserved address"


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def is_own(address: tuple[str, int] | tuple[str, int, int, int], family: int) -> bool:
    """Return whether an address is this machine's own: what listens on it may trust who comes from here.

    A datagram socket that is connected sends nothing; the system says which of its addresses it would use.
    """
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return bool(probe.getsockname()[0] == address[0])
    return False
