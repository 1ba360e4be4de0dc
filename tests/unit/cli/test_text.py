from __future__ import annotations

from upswell.cli.text import number, plain, seconds, size


def test_text_from_a_message_cannot_steer_a_terminal() -> None:
    assert plain("a\x1b[2J\r\n\x9bb\u202ec") == "a\\x1b[2J\\r\\n\\x9bb\\u202ec"
    assert plain("grüße 日本") == "grüße 日本"


def test_text_is_cut_to_length() -> None:
    assert len(plain("x" * 10_000_000)) == 1001


def test_durations_sizes_and_numbers_read_well() -> None:
    assert [seconds(v) for v in (0.0004, 0.25, 1.234, 12.34, None)] == ["0ms", "250ms", "1.23s", "12.3s", "-"]
    assert [size(v) for v in (0, 1023, 1536, 5 * 1024**4)] == ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]
    assert [number(v) for v in (1234567, 2.25, None)] == ["1,234,567", "2.2", "-"]
