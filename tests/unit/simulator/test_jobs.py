from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from upswell.errors import TraceError
from upswell.simulator.jobs import JobStream, in_chunks, read_jobs

if TYPE_CHECKING:
    from pathlib import Path


def test_reads_a_trace_plain_and_packed_whatever_other_columns_it_has(tmp_path: Path) -> None:
    text = "size,service_s,arrival_s\n9,2.5,0.5\n9,3.5,1.5\n"
    (tmp_path / "plain.csv").write_text(text)
    with gzip.open(tmp_path / "packed.csv.gz", "wt") as file:
        file.write(text)
    for name in ("plain.csv", "packed.csv.gz"):
        arrivals, services = read_jobs(tmp_path / name)
        assert (arrivals.tolist(), services.tolist()) == ([0.5, 1.5], [2.5, 3.5])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("arrival_s,size\n1,2\n", "column 'service_s'"),
        ("arrival_s,service_s\n", "has no uploads"),
        ("arrival_s,service_s\n1,x\n", "numbers"),
        ("arrival_s,service_s\n2,1\n1,1\n", "sorted"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_file_that_is_no_trace_is_refused_with_its_rule(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=rule):
        read_jobs(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot read the trace"):
        read_jobs(tmp_path / "none.csv")


def test_uploads_arrive_across_chunks_and_taken_ones_are_forgotten() -> None:
    arrivals = np.arange(150_000, dtype=float)
    stream = JobStream(in_chunks(arrivals, np.ones(150_000)))
    stream.arrive_until(99.5)
    assert stream.waiting == 100
    stream.head = 100
    stream.arrive_until(70_000.0)
    assert stream.waiting == 69_901
    assert len(stream.arrivals) < 140_000
    stream.arrive_until(1e9)
    assert stream.waiting == 69_901 + 79_999
    assert (stream.total, stream.work) == (150_000, 150_000.0)
