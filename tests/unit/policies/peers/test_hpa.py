"""The autoscaler behind KEDA, held to what a real one did.

keda_syncs.csv: each sync with a worker of ten runs of KEDA 2.17.2 on Kubernetes 1.34, with 0 to 30 replicas,
watched for this project: what the autoscaler saw and did.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from upswell.policies.peers.hpa import PodAutoscaler

LEAST, MOST = 1, 30


def syncs() -> dict[str, list[dict[str, str]]]:
    found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    with Path(__file__).with_name("keda_syncs.csv").open() as file:
        for row in csv.DictReader(file):
            found[row["run"]].append(row)
    return found


def test_the_fixture_has_every_sync() -> None:
    assert sum(map(len, syncs().values())) == 468
    assert len(syncs()) == 10


@pytest.mark.parametrize("run", sorted(syncs()))
def test_every_sync_of_a_real_one_is_reproduced(run: str) -> None:
    rows = syncs()[run]
    rule = PodAutoscaler("hpa", float(rows[0]["queue_length"]), behavior=rows[0]["behavior"] == "set")
    for row in rows:
        wanted = rule.sync(float(row["second"]), int(row["before"]), int(row["depth"])).desired_workers
        assert min(max(wanted, LEAST), MOST) == int(row["after"]), row


def test_without_a_behavior_one_sync_doubles_or_goes_to_four() -> None:
    assert PodAutoscaler("hpa", 1).sync(0.0, 1, 100).desired_workers == 4
    assert PodAutoscaler("hpa", 1).sync(0.0, 3, 100).desired_workers == 6
    assert PodAutoscaler("hpa", 1, behavior=True).sync(0.0, 3, 100).desired_workers == 7


def test_without_a_behavior_one_high_value_is_climbed_to_although_the_queue_is_empty() -> None:
    rule, steady = PodAutoscaler("hpa", 1), PodAutoscaler("hpa", 1, behavior=True)
    assert rule.sync(0.0, 4, 30).desired_workers == steady.sync(0.0, 4, 30).desired_workers == 8
    assert rule.sync(15.0, 8, 0).desired_workers == 16
    assert steady.sync(15.0, 8, 0).desired_workers == 8
    assert rule.sync(30.0, 16, 0).desired_workers == 30


@pytest.mark.parametrize(
    ("metric", "wanted"), [(9, 10), (10, 10), (11, 10), (8, 8), (12, 12)],
)  # fmt: skip
def test_within_a_tenth_both_ends_included_nothing_changes(metric: int, wanted: int) -> None:
    rule = PodAutoscaler("hpa", 1)
    rule.sync(-1000.0, 1, 1)
    assert rule.sync(0.0, 10, metric).desired_workers == wanted


def test_what_was_wanted_exactly_five_minutes_ago_has_dropped_out() -> None:
    rule = PodAutoscaler("hpa", 1)
    rule.sync(0.0, 20, 20)
    assert rule.sync(285.0, 20, 5).desired_workers == 20
    assert rule.sync(300.0, 20, 5).desired_workers == 5
