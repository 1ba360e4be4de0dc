"""docs/metrics.md lists every metric as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from upswell.metrics.figures import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text("utf-8")


def test_the_page_has_each_metric_with_its_kind_labels_and_meaning() -> None:
    rows = re.findall(r"(?m)^\| `(upswell_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE)
    assert rows == [
        (name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.text)
        for name, metric in METRICS.items()
    ]
