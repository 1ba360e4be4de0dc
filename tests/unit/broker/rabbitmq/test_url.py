"""AMQP URLs: every part, and what is refused with which words."""

from __future__ import annotations

import ssl

import pytest

from upswell.broker.rabbitmq.url import parse, parse_all
from upswell.errors import SettingsError


def test_a_full_url_has_all_its_parts() -> None:
    address = parse("amqp://us%40er:p%2Fw@rabbit.example:5673/my%2Fhost?heartbeat=7&connection_timeout=3")
    assert (address.user, address.password) == ("us@er", "p/w")
    assert (address.host, address.port, address.vhost) == ("rabbit.example", 5673, "my/host")
    assert (address.heartbeat, address.connection_timeout, address.tls) == (7, 3.0, None)


@pytest.mark.parametrize("url", ["amqp://", "amqp://localhost", "amqp://localhost/", "amqp://localhost/%2F"])
def test_parts_that_are_left_out_have_defaults(url: str) -> None:
    address = parse(url)
    assert (address.user, address.password, address.host) == ("guest", "guest", "localhost")
    assert (address.port, address.vhost, address.heartbeat) == (5672, "/", 20)


def test_tls_proves_the_server_unless_told_otherwise() -> None:
    address = parse("amqps://rabbit.example")
    assert address.port == 5671
    assert address.tls is not None
    assert address.tls.verify_mode == ssl.CERT_REQUIRED
    assert address.tls.check_hostname
    assert address.server_name == "rabbit.example"
    trusting = parse("amqps://rabbit.example?verify=verify_none&server_name_indication=other")
    assert trusting.tls is not None
    assert trusting.tls.verify_mode == ssl.CERT_NONE
    assert trusting.server_name == "other"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://u:s3cret@h", r"must start with amqp:// or amqps://, got 'http://\*\*\*@h'"),
        ("amqp://u:s3cret@h:port", "must be a URL like"),
        ("amqp://u:s3cret@h:65536", "must have a valid host and a port up to 65535"),
        ("amqp://u:s3cret@h?hartbeat=1", "unknown option in broker_url: hartbeat; did you mean heartbeat?"),
        (
            "amqp://u:s3cret@h?heartbeat=soon",
            "heartbeat in broker_url must be 0 to 65535 seconds, got 'soon'",
        ),
        ("amqp://u:s3cret@h?heartbeat=-1", "got '-1'"),
        ("amqp://u:s3cret@h?cacertfile=/x", "cacertfile in broker_url needs amqps://"),
        ("amqps://u:s3cret@h?verify=maybe", "must be verify_peer or verify_none, got 'maybe'"),
        ("amqps://u:s3cret@h?cacertfile=/nowhere.pem", "must be readable PEM files"),
    ],
)
def test_a_url_that_breaks_a_rule_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")) as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)


def test_an_address_shows_no_password() -> None:
    assert repr(parse("amqp://u:s3cret@h/v")) == "amqp://***@h:5672/v"


def test_the_nodes_of_a_cluster_stand_behind_each_other() -> None:
    one, two, three = parse_all("amqp://u:p%2Cw@rabbit1:5673,rabbit2,[::1]:5674/v?heartbeat=7")
    assert [(node.host, node.port) for node in (one, two, three)] == [
        ("rabbit1", 5673),
        ("rabbit2", 5672),
        ("::1", 5674),
    ]
    assert {(node.user, node.password, node.vhost, node.heartbeat) for node in (one, two, three)} == {
        ("u", "p,w", "v", 7)
    }
    assert [node.host for node in parse_all("amqp://u:p,w@rabbit1/v")] == ["rabbit1"]


@pytest.mark.parametrize("hosts", ["a,", ",a", "a,,b", "a:1,a:1"])
def test_each_host_is_named_once_and_no_password_is_shown(hosts: str) -> None:
    with pytest.raises(SettingsError, match="broker_url must name each host once") as caught:
        parse_all(f"amqp://u:s3cret@{hosts}/v")
    assert "s3cret" not in str(caught.value)


def test_a_port_of_one_of_several_hosts_is_checked_too() -> None:
    with pytest.raises(SettingsError, match="a port up to 65535") as caught:
        parse_all("amqp://u:s3cret@a:5672,b:70000/v")
    assert "s3cret" not in str(caught.value)
