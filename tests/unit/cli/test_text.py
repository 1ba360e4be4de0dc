from __future__ import annotations

from upswell.cli.text import number, seconds, size


def test_durations_sizes_and_numbers_read_well() -> None:
    assert [seconds(v) for v in (0.0004, 0.25, 1.234, 12.34, None)] == ["0ms", "250ms", "1.23s", "12.3s", "-"]
    assert [size(v) for v in (0, 1023, 1536, 5 * 1024**4)] == ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]
    assert [number(v) for v in (1234567, 2.25, None)] == ["1,234,567", "2.2", "-"]
