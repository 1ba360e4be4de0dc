"""Bars in text: unknown is empty, zero is not, and what is late can be seen without colour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upswell.cli.live.charts import ChartStyle, Columns, bars

NUMBER = st.none() | st.floats(0, 1e9)


def drawn(columns: Columns, rows: int, top: float, style: ChartStyle | None = None) -> list[str]:
    return [line.plain for line in bars(columns, rows, top, style or ChartStyle())]


def test_what_is_not_known_is_empty_and_zero_is_the_lowest_bar() -> None:
    assert drawn(Columns([None, 0.0, 4.0, 8.0], [None] * 4), 1, 8.0) == [" ▁▄█"]


def test_a_mark_stands_where_no_bar_reaches_it() -> None:
    lines = drawn(Columns([1.0, 4.0, None], [2.0] * 3), 4, 4.0)
    assert lines == [" █ ", "╌█╌", " █ ", "██ "]


def test_the_upper_part_of_a_bar_is_shaded() -> None:
    assert drawn(Columns([4.0], [None], [2.0]), 4, 4.0) == ["▒", "▒", "█", "█"]


def test_only_ascii_where_nothing_else_is_shown() -> None:
    lines = drawn(Columns([4.0, 0.5, None], [2.0] * 3, [1.0, 0.5, None]), 4, 4.0, ChartStyle().in_ascii())
    assert lines == [":  ", ":--", ":  ", "#: "]


def test_a_bar_above_its_mark_has_another_colour() -> None:
    (line,) = bars(Columns([1.0, 3.0], [2.0, 2.0]), 1, 4.0, ChartStyle(bar="green", over="red"))
    assert [span.style for span in line.spans] == ["green", "red"]


@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER), max_size=20), st.integers(1, 9), st.floats(0, 1e9))
def test_a_chart_has_its_size_whatever_the_numbers_are(
    columns: list[tuple[float | None, float | None, float | None]], rows: int, top: float
) -> None:
    values, marks, lower = ([column[part] for column in columns] for part in range(3))
    lines = drawn(Columns(values, marks, lower), rows, top)
    assert len(lines) == rows
    assert {len(line) for line in lines} == {len(columns)}
    for number, value in enumerate(values):
        assert (value is None) == all(line[number] in " ╌" for line in lines)
