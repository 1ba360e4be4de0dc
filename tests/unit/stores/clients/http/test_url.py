from __future__ import annotations

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import PermanentUploadError
from upswell.stores.clients.http.url import parse_url, redirected


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("https://example.org", "https://example.org/"),
        ("HTTPS://EXAMPLE.org:443/A%2fb", "https://example.org/A%2fb"),
        ("http://example.org:8080?q=1", "http://example.org:8080/?q=1"),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("https://example.org/a/../b#part", "https://example.org/a/../b"),
        ("https://example.org/é?ü=日", "https://example.org/%C3%A9?%C3%BC=%E6%97%A5"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://example.org/x?sig=a%2Bb/c+d&e=~", "https://example.org/x?sig=a%2Bb/c+d&e=~"),
    ],
)
def test_a_url_is_sent_as_it_was_meant(text: str, sent: str) -> None:
    assert str(parse_url(text)) == sent


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ftp://example.org/x", "absolute http"),
        ("http:/example.org", "absolute http"),
        ("//example.org/x", "absolute http"),
        ("http://example.org/a b", "without spaces"),
        ("http://example.org/a\r\nHost: evil", "control characters"),
        ("http://example.org\\@evil.example/", "control characters or"),
        ("http://user:secret@example.org/", "must not contain a user or password"),
        ("http://allowed.example@evil.example/", "must not contain a user or password"),
        ("http://@example.org/", "must not contain a user or password"),
        ("http:///x", "must name a host"),
        ("http://exa%6dple.org/", "must name a host"),
        ("http://[::1/", "must name a host"),
        ("http://[fe80::1%25eth0]/", "must name a host"),
        ("http://a:b:80/", "must name a host"),
        ("http://example.org:0/", "port from 1 to 65535"),
        ("http://example.org:65536/", "port from 1 to 65535"),
        ("http://example.org:+80/", "must name a host"),
        ("http://\ud800.example/", "must name a host"),
        ("http://example.org/\ud800", "valid Unicode"),
        ("http://" + "é" * 80 + ".example/", "must name a host"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: str, rule: str) -> None:
    with pytest.raises(PermanentUploadError, match=rule) as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b?c", "https://example.org:8443/b?c"),
        ("b", "https://example.org:8443/a/b"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example/x#y", "http://other.example/x"),
        ("/\xc3\xa9", "https://example.org:8443/%C3%A9"),
        ("/a b", "https://example.org:8443/a%20b"),
    ],
)
def test_a_redirect_leads_where_its_location_says(location: str, leads_to: str) -> None:
    assert str(redirected(parse_url("https://example.org:8443/a/x"), location)) == leads_to


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://example.org/x", "http://u:p@other.example/", "http://[::1", "gopher:x"],
)
def test_a_redirect_to_anything_else_is_refused(location: str) -> None:
    with pytest.raises(PermanentUploadError):
        redirected(parse_url("https://example.org/a"), location)


@given(st.text(alphabet=st.one_of(st.sampled_from("/:@?#[]\\%.a1 \t\n"), st.characters()), max_size=40))
def test_what_is_let_through_means_the_same_to_another_reader(rest: str) -> None:
    """The request line is printable ASCII, and the host is what the standard library finds as well."""
    try:
        url = parse_url(f"http://{rest}")
    except PermanentUploadError:
        return
    other = urlsplit(str(url))
    assert other.hostname == url.host
    assert (other.port or 80) == url.port
    assert other.username is None
    assert url.target.startswith("/")
    assert set(url.target) <= set(string.printable) - set(string.whitespace)
