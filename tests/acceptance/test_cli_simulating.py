"""`compare`, `simulate`, `replay` and `explain` as a person runs them, on small traffic."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from support.recorded_journal import write_journal
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "arrival_s,service_s\n"
SMALL = HEADER + "".join(f"{i / 2},{1 + i % 3}\n" for i in range(240))
SETTING = ("--slo", "20", "--share", "0.9", "--start-delay", "5")


def upswell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "upswell", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "progress is for terminals"
    return json.loads(done.stdout.splitlines()[-1])


def test_compare_prints_one_json_object_with_every_policy_asked_for(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "small.csv.gz", "wt") as file:
        file.write(SMALL)
    policies = "slo,keda:2,constant"
    done = upswell(
        tmp_path, "compare", "--jobs", "small.csv.gz", *SETTING, "--policies", policies,
        "--json", "--plot", "out.svg",
    )  # fmt: skip
    told = answer(done)
    assert told["case"] == "small"
    assert list(told["policies"]) == ["slo", "keda:2", "constant"]
    oracle = told["oracle"]
    assert oracle["attainment"] >= 0.9
    assert oracle["lower_bound_over_work"] <= oracle["cost_over_work"] * 1.1
    for figures in told["policies"].values():
        assert 0 <= figures["attainment"] <= 1
        assert figures["r"] > 0
        missed = max(1.0, (1 - figures["attainment"]) / 0.1)
        paid = figures["cost_over_work"] + Settings().assumed_start_cost * figures["starts"] / told["work_s"]
        assert figures["r"] == pytest.approx(paid / oracle["cost_over_work"] * missed)
        assert {"p95", "peak_workers", "scalings"} <= figures.keys()
    assert ET.parse(tmp_path / "out.svg").getroot().tag.endswith("svg")


def test_compare_shows_a_table_with_the_best_first(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text(SMALL)
    done = upswell(tmp_path, "compare", "--jobs", "small.csv", *SETTING, "--policies", "keda,constant:50")
    assert done.returncode == 0
    for word in ("attained", "p50", "p95", "p99", "cost/work", "R", "peak", "scalings", "clairvoyant"):
        assert word in done.stdout
    lines = [line for line in done.stdout.splitlines() if "keda " in line or "constant:50 " in line]
    r = [float(line.split()[6]) for line in lines]
    assert r == sorted(r)


def test_compare_repeats_a_policy_in_several_phases_and_shows_how_far_the_runs_lie_apart(
    tmp_path: Path,
) -> None:
    """One sync of KEDA's autoscaler sooner or later decides whether a burst is late."""
    given = (
        "--arrivals", "on_off(3,60,240)", "--duration", "10min", "--service", "exponential(2)", "--slo", "30",
        "--start-delay", "10", "--policies", "keda:2",
    )  # fmt: skip
    once = answer(upswell(tmp_path, "compare", *given, "--json"))["policies"]["keda:2"]
    told = answer(upswell(tmp_path, "compare", *given, "--repeat", "3", "--json"))["policies"]["keda:2"]
    runs = told["runs"]
    assert {name: once[name] for name in runs[0]} in runs
    attained, r = (sorted(run[name] for run in runs) for name in ("attainment", "r"))
    assert attained[0] < attained[-1]
    assert told["r"] == r[1], "the run in the middle stands for all"
    shown = upswell(tmp_path, "compare", *given, "--repeat", "3").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("keda:2: ")]
    assert line.startswith(f"keda:2: 3 runs: attained {attained[0]:.2%} to {attained[-1]:.2%}, cost/work ")
    assert line.endswith(f"R {r[0]:.2f} to {r[-1]:.2f}")


def test_compare_reads_counts_and_says_what_it_drew(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("t_seconds,count\n" + "".join(f"{60 * i},60\n" for i in range(10)))
    done = upswell(
        tmp_path, "compare", "--trace", "counts.csv", "--service", "lognormal(3, 1)", "--slo", "95% < 30s",
        "--thin", "0.5", "--squeeze", "2", "--no-oracle", "--policies", "slo", "--json",
    )  # fmt: skip
    told = answer(done)
    assert told["oracle"] is None
    assert told["policies"]["slo"]["r"] is None
    assert 200 < told["uploads"] < 400
    notes = " ".join(told["notes"])
    assert "thinned to 0.5" in notes
    assert "compressed 2 times" in notes


def test_simulate_tells_what_it_decided_and_the_cost_of_each_state(tmp_path: Path) -> None:
    given = ("--arrivals", "poisson(2)", "--service", "exponential(2)", "--duration", "10min", *SETTING)
    done = upswell(tmp_path, "simulate", *given, "--decisions", "3")
    assert done.returncode == 0, done.stderr
    for words in ("slo 90% < 20s", "response times: p50", "worker-hours", "busy", "decisions", " -> "):
        assert words in done.stdout
    told = answer(upswell(tmp_path, "simulate", *given, "--json"))
    assert sum(told["worker_seconds_by_state"].values()) == pytest.approx(told["worker_seconds"])
    again = answer(upswell(tmp_path, "simulate", *given, "--json"))
    assert told == again, "the same inputs give the same decisions"


def test_replay_tells_what_another_policy_would_have_cost_and_where_it_differed(tmp_path: Path) -> None:
    real = write_journal(tmp_path / "journal.sqlite")
    done = upswell(tmp_path, "replay", "journal.sqlite", "--policy", "slo", "--plot", "out.svg")
    assert done.returncode == 0, done.stderr
    for words in (
        "recorded",
        "would have met the slo",
        "less than recorded",
        "largest differences",
        "20: p95",
    ):
        assert words in done.stdout
    told = answer(upswell(tmp_path, "replay", ".", "--policy", "slo", "--json"))
    assert told["recorded"]["attainment"] == pytest.approx(real.attainment, abs=0.005)
    assert told["replayed"]["attainment"] > 0.95
    assert told["replayed"]["worker_seconds"] < told["recorded"]["worker_seconds"]
    assert told["differences"][0]["recorded_reason"]
    stricter = answer(upswell(tmp_path, "replay", ".", "--policy", "slo", "--slo", "6", "--json"))
    assert stricter["slo"] == "95% < 6s"
    assert stricter["recorded"]["attainment"] < told["recorded"]["attainment"]


def test_replaying_the_policy_that_decided_gives_what_was_recorded(tmp_path: Path) -> None:
    """The recorded fleet was simulated itself: the replay must find it again, but for the bounds."""
    real = write_journal(tmp_path / "journal.sqlite")
    told = answer(upswell(tmp_path, "replay", ".", "--policy", "threshold", "--max-workers", "20", "--json"))
    assert told["replayed"]["attainment"] == pytest.approx(real.attainment, abs=0.05)


def test_explain_shows_a_decisions_steps_with_their_inputs_and_what_was_seen(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite")
    done = upswell(tmp_path, "explain", "journal.sqlite", "--at", "1795000240")
    assert done.returncode == 0, done.stderr
    for words in ("hold 20", "why:", "threshold, 20 → 20: ", "    p95 ", "signals:", "20 ready"):
        assert words in done.stdout
    early = upswell(tmp_path, "explain", "journal.sqlite", "--at", "1000")
    assert early.returncode == 1
    assert "; the oldest is from" in early.stderr


@pytest.mark.parametrize(
    ("rows", "extra", "rule"),
    [
        ("", (), "has no uploads"),
        ("1,1\n3,1\n2,1\n", (), "arrivals must be sorted, each at or after the one before, got 2 after 3"),
        ("1,1\n2,-3\n", (), "service times must be >= 0 s, got -3 (upload 2)"),
        ("1,nan\n", (), "service times must be finite numbers, got nan (upload 1)"),
        ("-1,1\n", (), "arrivals must be >= 0 s, got -1"),
        ("nan,1\n", (), "arrivals must be finite numbers, got nan"),
        ("1,99\n", (), "slo 90% < 20s cannot be met: the shortest service takes 99 s; what could be met"),
        (
            "1,1\n",
            ("--policies", "best"),
            "policy must be one of slo, slo_formula, threshold, elasticity_control, constant, keda",
        ),
        ("1,1\n", ("--max-workers", "0"), "0 is not in the range x>=1"),
        ("1,1\n", ("--interval", "nan"), "must be a finite number, got nan"),
        ("1,1\n", ("--interval", "90"), "decision_interval must be > 0 and at most the window"),
    ],
)
def test_what_cannot_be_compared_is_one_line_with_rule_and_value(
    tmp_path: Path, rows: str, extra: tuple[str, ...], rule: str
) -> None:
    (tmp_path / "bad.csv").write_text(HEADER + rows)
    done = upswell(tmp_path, "compare", "--jobs", "bad.csv", *SETTING, *extra)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert rule in done.stderr.splitlines()[-1]


def test_what_is_unusual_but_possible_works(tmp_path: Path) -> None:
    """One upload, no start-up delay, a service longer than the objective."""
    (tmp_path / "one.csv").write_text(HEADER + "0.5,2\n")
    one = answer(
        upswell(tmp_path, "compare", "--jobs", "one.csv", "--slo", "10", "--start-delay", "0", "--json")
    )
    assert {figures["attainment"] for figures in one["policies"].values()} == {1.0}
    (tmp_path / "long.csv").write_text(SMALL + "120,500\n")
    long = answer(upswell(tmp_path, "compare", "--jobs", "long.csv", *SETTING, "--policies", "slo", "--json"))
    assert long["policies"]["slo"]["late"] >= 1
    assert "1 of 241 uploads take longer than 20 s by themselves" in long["notes"][0]


@pytest.mark.slow
def test_a_million_uploads_in_one_second_end_in_bounded_time(tmp_path: Path) -> None:
    (tmp_path / "flood.csv").write_text(HEADER + "".join(f"{i / 1e6:.6f},1\n" for i in range(1_000_000)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = answer(
        upswell(tmp_path, "compare", "--jobs", "flood.csv", "--slo", "60", "--policies", "slo,keda", "--json")
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    assert told["policies"]["slo"]["peak_workers"] == 500
    assert "thin the traffic" in told["notes"][-1]
