"""`replay` and `explain` on the journal of a real run: real processes, the embedded broker."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOADS = 60
RULES = '[rules.floor]\nwhen = "messages_ready > 0"\nat_least = 2\nbecause = "two are quicker"\n'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that has uploaded a burst and was stopped; its journal is what the tests read."""
    folder: Path = tmp_path_factory.mktemp("replay")
    rules = folder / "rules.toml"
    rules.write_text(RULES)
    with System(
        folder, app_id="e1", handler="simulate", handlers_simulate_seconds="0.3-0.6", slots=2, max_workers=6,
        decision_interval=0.5, window=5, slo="90% < 4s", price_per_worker_hour=0.5, rules_file=rules,
        stabilization_window=2, status_interval=0.5,
    ) as made:  # fmt: skip
        requests = made.make_requests(UPLOADS, size=10)
        up = made.start("up")
        made.publish(requests)
        wait_until(lambda: answer(made, "status", "--json")["apps"][0]["cost"] is not None, 60, made.logs)
        wait_until(
            lambda: answer(made, "status", "--json")["apps"][0]["cost"]["uploads"]["stored"] == UPLOADS,
            60,
            made.logs,
        )
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
        yield made


def answer(system: System, *arguments: str) -> dict[str, Any]:
    return json.loads(system.run(*arguments).stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_real_run_is_replayed_under_what_it_was_scaled_under(system: System) -> None:
    told = answer(system, "replay", str(system.folder / "state"), "--json")
    assert (told["min_workers"], told["max_workers"], told["slots"]) == (1, 6, 2)
    assert told["slo"] == "90% < 4s"
    assert told["uploads"] == UPLOADS
    recorded, replayed = told["recorded"], told["replayed"]
    assert recorded["policy"] == "slo"
    assert replayed["policy"] == "slo+rules"
    assert replayed["peak_workers"] <= 6
    for side in (recorded, replayed):
        assert sum(side["worker_seconds_by_state"].values()) == pytest.approx(side["worker_seconds"])
        assert side["price"] == pytest.approx(side["worker_seconds"] / 3600 * 0.5)
        assert 0 <= side["attainment"] <= 1
    assert recorded["worker_seconds"] > UPLOADS * 0.3 / 2


@pytest.mark.slow
def test_another_policy_and_objective_are_told_with_what_they_would_have_cost_and_where_they_differed(
    system: System,
) -> None:
    shown = system.run("replay", str(system.folder / "state"), "--policy", "constant:1", "--slo", "2").stdout
    for words in (
        "recorded (slo)",
        "constant:1",
        "would have",
        "worker-hours, recorded:",
        "largest differences",
    ):
        assert words in shown
    assert "slo 90% < 2s, 1 to 6 workers of 2 slots" in shown


@pytest.mark.slow
def test_a_decision_of_a_real_run_is_explained(system: System) -> None:
    shown = system.run("explain", str(system.folder / "state")).stdout
    for words in ("e1, ", "why:", " → ", "signals:", "slo 90% < 4s", "workers:"):
        assert words in shown
    told = answer(system, "explain", str(system.folder / "state"), "--json")
    first = told["at"] - 1  # two rounds before; a quick run has not many more
    earlier = answer(system, "explain", str(system.folder / "state"), "--at", f"{first}", "--json")
    assert earlier["at"] <= first
    assert earlier["decision"]["steps"]
