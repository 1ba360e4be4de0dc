"""Text from messages, servers and settings reaches people without secrets and control characters."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.safe import masked_url, safe, url_fault


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("amqp://guest:secret@host:5672/vh", "amqp://***@host:5672/vh"),
        ("amqps://u@host", "amqps://***@host"),
        ("a https://u:p@ss@h/x b http://h/@y", "a https://***@h/x b http://h/@y"),
        ("file:///home/a@b", "file:///home/a@b"),
        ("see 'https://h/a?b=c&d', http://h/?x", "see 'https://h/a?***', http://h/?***"),
        ('{"uri":"HTTPS://u:p@h?s","n":"why?"}', '{"uri":"HTTPS://***@h?***","n":"why?"}'),
        ("http://a/?b http://c/d file:///e?f", "http://a/?*** http://c/d file:///e?f"),
        ("nobody@example.org", "nobody@example.org"),
    ],
)
def test_credentials_in_urls_are_masked(text: str, masked: str) -> None:
    assert safe(text) == masked


def test_text_from_a_message_cannot_steer_a_terminal() -> None:
    assert safe("a\x1b[2J\r\n\x9bb\u202ec") == "a\\u001b[2J\\r\\n\\u009bb\\u202ec"
    assert safe("grüße 日本") == "grüße 日本"


def test_text_is_cut_to_length() -> None:
    assert len(safe("x" * 10_000_000)) == 1001


def test_json_that_is_made_safe_is_still_the_same_json() -> None:
    """What `--json` prints is made safe as a whole, after it was encoded."""
    text = "a\x7f\x9b\u202e\n"
    assert msgspec.json.decode(safe(msgspec.json.encode({"name": text}).decode(), None)) == {"name": text}


_HOSTS = st.sampled_from(["rabbit.example", "127.0.0.1:5672", "[::1]:5672", "localhost"])
_ANYTHING = st.text(st.characters(exclude_categories=()), max_size=8)
_SECRETS = st.builds("s3cr{}s3cr{}s3cr".format, _ANYTHING, _ANYTHING)


@given(_SECRETS, _HOSTS, st.sampled_from(["amqp://", "amqps://", "http://", "amqp:/", "amqp:", ""]))
def test_no_part_of_any_password_is_left_in_a_masked_url(secret: str, host: str, scheme: str) -> None:
    for url in (f"{scheme}me:{secret}@{host}/vh", f"{scheme}:{secret}@{host}", f"{scheme}{secret}@{host}"):
        assert "s3cr" not in masked_url(url)
        assert "s3cr" not in (url_fault(url) or "")


@given(_SECRETS, _HOSTS)
def test_a_password_whose_reserved_characters_are_percent_encoded_breaks_no_rule(
    secret: str, host: str
) -> None:
    url = f"amqp://me:{quote(secret.encode('utf-8', 'surrogatepass'), safe='')}@{host}/vh"
    assert url_fault(url) is None
    assert masked_url(url) == f"amqp://***@{host}/vh"


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("a/b", "must have '/' in user and password percent-encoded, as %2F"),
        ("a#b", "'#' in user and password percent-encoded, as %23"),
        ("a?b", "'?' in user and password percent-encoded, as %3F"),
        ("a b", "' ' in user and password percent-encoded, as %20"),
        ("a[b", "'[' in user and password percent-encoded, as %5B"),
        ("a@/b", "'/' in user and password percent-encoded, as %2F"),
        ("a\nb", "must have a control character in user and password percent-encoded, as %0A"),
    ],
)
def test_the_character_that_must_be_percent_encoded_is_named(password: str, said: str) -> None:
    assert said in (url_fault(f"amqp://me:{password}@host/") or "")
