"""The oracle against an independent one, on the real traces of benchmarks/autoscalers.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from upswell.lab.oracle import oracle
from upswell.simulator.jobs import read_jobs

CASES = os.environ.get("AUTOSCALER_CASES", "")
"""The folder that benchmarks/autoscalers.py is given; real traces are too large to stand here."""


@pytest.mark.parametrize(
    "name",
    [
        "azure-code",
        "azure-conv",
        "swim-2010",
        "worldcup98-2d",
        "aws-elb-3d",
        "tweets-aapl-4d",
        "twitter-6h",
    ],
)
@pytest.mark.slow
@pytest.mark.skipif(not CASES, reason="AUTOSCALER_CASES names no folder with cases.json and its traces")
def test_oracle_comes_within_two_percent_of_an_independent_one(name: str) -> None:
    case = json.loads((Path(CASES) / "cases.json").read_text())[name]
    arrivals, services = read_jobs(Path(CASES) / f"{name}.csv.gz")
    found = oracle(
        arrivals, services, objective=case["slo_s"], share=case["share"], start_delay=case["start_delay_s"]
    )
    assert found.attainment >= case["share"]
    assert found.lower_bound <= found.cost
    assert found.cost_over_work <= 1.02 * case["oracle_cost_over_work"]
