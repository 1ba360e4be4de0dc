from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from upswell.errors import TraceError
from upswell.workload.columns import read_columns

if TYPE_CHECKING:
    from pathlib import Path


def test_columns_come_in_the_order_asked_for_and_blank_lines_are_let_pass(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("a, b ,c\n1,2,3\n\n4,5,6\n")
    b, a = read_columns(path, "b", "a")
    assert (b.tolist(), a.tolist()) == ([2.0, 5.0], [1.0, 4.0])


def test_a_file_with_only_a_header_has_no_rows_and_warns_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("a,b\n")
    assert [len(column) for column in read_columns(path, "a", "b")] == [0, 0]


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("plain.csv.gz", b"a\n1\n", "cannot read the trace .*Not a gzipped file"),
        ("cut.csv.gz", gzip.compress(b"a\n" + b"1\n" * 9999, mtime=0)[:40], "not a complete gzip file"),
        ("binary.csv", b"\xff\xfe\x00" * 9, "must contain numbers: .*utf-8"),
        ("text.csv", b"a\nx\n", "must contain numbers: .*'x'"),
        ("narrow.csv", b"b,a\n1,2\n3\n", "must contain numbers"),
        ("empty.csv", b"", "must have a column 'a': .* has no header"),
        ("other.csv", b"b,c\n1,2\n", "must have a column 'a': .* has b, c"),
    ],
    ids=["plain", "cut", "binary", "text", "narrow", "empty", "other"],
)
def test_a_file_that_is_no_table_of_numbers_is_refused_with_its_rule(
    tmp_path: Path, name: str, content: bytes, rule: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TraceError, match=rule):
        read_columns(path, "a")
