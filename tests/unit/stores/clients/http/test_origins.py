from __future__ import annotations

import pytest

from upswell.errors import SettingsError
from upswell.stores.clients.http.url import Origin


@pytest.mark.parametrize(
    ("entry", "scheme", "host", "port"),
    [
        ("https://example.org", "https", "example.org", 443),
        ("HTTPS://Example.org/", "https", "example.org.", 443),
        ("https://*.example.org", "https", "a.b.example.org", 443),
        ("https://*", "https", "anything.example", 443),
        ("http://*:*", "http", "10.0.0.1", 8080),
        ("http://cdn.example.org:8080", "http", "cdn.example.org", 8080),
        ("http://[fd00::1]:81", "http", "fd00::1", 81),
    ],
)
def test_an_origin_of_the_setting_holds_what_it_says(entry: str, scheme: str, host: str, port: int) -> None:
    assert Origin.parse(entry).holds(scheme, host, port)


@pytest.mark.parametrize(
    ("entry", "scheme", "host", "port"),
    [
        ("https://example.org", "http", "example.org", 80),
        ("https://example.org", "https", "example.org", 8443),
        ("https://example.org", "https", "example.org.evil.example", 443),
        ("https://example.org", "https", "evilexample.org", 443),
        ("https://*.example.org", "https", "example.org", 443),
        ("https://*.example.org", "https", "evilexample.org", 443),
        ("https://*", "https", "example.org", 25),
    ],
)
def test_it_holds_nothing_else(entry: str, scheme: str, host: str, port: int) -> None:
    assert not Origin.parse(entry).holds(scheme, host, port)


@pytest.mark.parametrize(
    "entry",
    ["", "example.org", "ftp://example.org", "https://", "https://a/b", "https://u:p@a", "https://a*", "https://*a.b",
     "https://a:0", "https://a:65536", "https://a b", "https://é.example", "https://a\n"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_with_the_rule(entry: str) -> None:
    with pytest.raises(SettingsError, match="source_origins must be like https"):
        Origin.parse(entry)
