"""Text from messages, servers and settings reaches people without secrets and control characters."""

from __future__ import annotations

import msgspec
import pytest

from upswell.safe import safe


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
