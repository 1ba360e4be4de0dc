"""Names by Prometheus' conventions, and labels whose values stay few."""

from __future__ import annotations

import re

import pytest

from upswell.messages import APP_ID_PATTERN
from upswell.metrics.figures import METRICS, OTHER


@pytest.mark.parametrize("name", METRICS)
def test_a_name_says_what_it_counts_in_base_units(name: str) -> None:
    metric = METRICS[name]
    assert re.fullmatch(r"upswell_[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|\Z)", name)
    assert metric.text.endswith(".")


def test_no_label_holds_what_has_no_end_of_values() -> None:
    labels = {label for metric in METRICS.values() for label in metric.labels}
    assert labels == {
        "app", "outcome", "state", "direction", "alarm", "currency", "kind", "result", "phase",
        "part", "version",
    }  # fmt: skip


def test_no_application_can_be_called_like_the_others_together() -> None:
    assert re.match(APP_ID_PATTERN, "other")
    assert not re.match(APP_ID_PATTERN, OTHER)
