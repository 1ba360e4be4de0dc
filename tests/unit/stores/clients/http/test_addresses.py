from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import SettingsError
from upswell.stores.clients.http.addresses import is_own, parse_networks, refusal


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("10.1.2.3", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("fd00:ec2::254", "a private address"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("fec0::1", "a site-local address"),
        ("168.63.129.16", "a cloud's metadata server"),
        ("100.100.100.200", "an address of a carrier's inner network"),
        ("192.0.0.192", "a reserved address"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a reserved address"),
        ("::ffff:127.0.0.1", "an IPv4-mapped address"),
        ("::ffff:8.8.8.8", "an IPv4-mapped address"),
        ("::127.0.0.1", "an IPv4-compatible address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("64:ff9b::127.0.0.1", "a NAT64 address"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a Teredo address"),
    ],
)
def test_an_address_that_is_not_public_is_refused_by_its_kind(address: str, kind: str) -> None:
    assert refusal(address, []) == kind


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "93.184.215.14", "2606:4700:4700::1111"])
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert refusal(address, []) is None


@given(st.ip_addresses())
def test_what_python_calls_not_global_is_never_let_through(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(str(address), []) is None:
        assert address.is_global
        assert not any([address.is_loopback, address.is_private, address.is_multicast])


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::", "2002::"]))
def test_an_address_that_carries_another_is_no_way_around(inner: ipaddress.IPv4Address, wrapper: str) -> None:
    """Even where the wrapping network is allowed, as 64:ff9b::/96 is behind a NAT64."""
    base = int(ipaddress.IPv6Address(wrapper))
    shift = 80 if wrapper == "2002::" else 0
    outer = ipaddress.IPv6Address(base | int(inner) << shift)
    prefix = 16 if shift else 96
    assert refusal(str(outer), []) is not None
    assert refusal(str(outer), [ipaddress.ip_network((base, prefix))]) == refusal(str(inner), [])


def test_a_network_of_the_settings_is_allowed_and_no_other() -> None:
    allowed = parse_networks(["10.1.0.0/16", "::1/128"])
    assert refusal("10.1.2.3", allowed) is None
    assert refusal("::1", allowed) is None
    assert refusal("10.2.0.1", allowed) == "a private address"
    assert refusal("127.0.0.1", allowed) == "a loopback address"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "loopback", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(SettingsError, match="source_networks must be networks like"):
        parse_networks([text])


def test_this_machines_own_addresses_are_told_from_others() -> None:
    assert is_own(("127.0.0.1", 80), socket.AF_INET)
    assert not is_own(("192.0.2.1", 80), socket.AF_INET)
    assert not is_own(("255.255.255.255", 80), socket.AF_INET)
