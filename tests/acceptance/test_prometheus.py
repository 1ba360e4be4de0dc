"""A real Prometheus beside a real `upswell up`: what it scrapes, each query of the dashboard, each alert."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.prometheus import scraping
from support.system import System, wait_until
from upswell.metrics.figures import METRICS

if TYPE_CHECKING:
    from support.prometheus import Prometheus

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "upswell.rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "upswell.rules.test.yml"
PAGE = DEPLOY.parent / "docs" / "metrics.md"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "upswell.json").read_text("utf-8"))
UPLOADS = 40
GRAFANAS = {"$app": "photos", "$job": ".*", "$__rate_interval": "5m", "$__range": "1h"}
"""What Grafana puts in the place of its variables."""

WORKERS_OWN = {name for name in METRICS if name.startswith("upswell_worker_") and METRICS[name].labels} - {
    "upswell_worker_seconds_total"
}


def queries() -> list[str]:
    """Return each query of the dashboard, as Grafana would put it."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    for variable, value in GRAFANAS.items():
        found = [query.replace(variable, value) for query in found]
    return found


def served_port(system: System, log: str) -> int:
    """Return the port on which a command says that it serves metrics."""

    def found() -> list[str]:
        text = (system.folder / log).read_text() if (system.folder / log).exists() else ""
        return re.findall(r"metrics\.serving host=127\.0\.0\.1 port=(\d+)", text)

    wait_until(lambda: bool(found()), 60, system.logs)
    return int(found()[0])


def worker_logs(system: System) -> list[Path]:
    return list((system.folder / "state").glob("**/photos-*.log"))


def value(server: Prometheus, query: str) -> float:
    found = server.query(query)
    return float(found[0]["value"][1]) if found else -1.0


def shown(server: Prometheus, query: str) -> float:
    """Return what a query gives, once it gives something: a scrape that was too late leaves a gap."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = server.query(query)
        return bool(found)

    wait_until(there, 60, lambda: f"{query} gives nothing")
    return float(found[0]["value"][1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_prometheus_sees_what_the_system_does_and_each_query_of_the_dashboard_answers(
    tmp_path: Path, promtool: str
) -> None:
    settings = {
        "price_per_worker_hour": 3600,
        "currency": "EUR",
        "slo": "50% < 17s",
        "decision_interval": 0.5,
    }
    with System(tmp_path / "s", app_id="photos", **settings) as system:
        requests = system.make_requests(UPLOADS, size=20_000)
        command = system.start("up", "--metrics", "127.0.0.1:0", "--set", "worker_metrics=127.0.0.1:0")
        port = served_port(system, "up.log")
        wait_until(lambda: bool(worker_logs(system)), 120, system.logs)
        (worker_log,) = worker_logs(system)
        jobs = {"upswell": port, "worker": served_port(system, str(worker_log.relative_to(system.folder)))}
        with scraping(tmp_path / "prometheus", jobs, [RULES]) as server:
            wait_until(lambda: len(server.query("up == 1")) == 2, 60, lambda: str(server.query("up")))
            stored = 'upswell_uploads_total{app="photos", outcome="stored"}'
            # The series begins with the monitor's first round.
            wait_until(lambda: value(server, stored) == 0, 60, system.logs)
            system.run("publish", "--app", "photos", str(requests))
            wait_until(lambda: value(server, stored) >= UPLOADS, 90, system.logs)
            # It has counted from 0, so that rates see all.
            wait_until(lambda: value(server, f"increase({stored}[5m])") > 0, 60, system.logs)
            within = 'upswell_response_time_seconds_bucket{le="17"}'
            assert shown(server, f"sum({within}) - sum(upswell_uploads_in_time_total)") == 0
            ready = 'upswell_ready{part="monitor"}'
            wait_until(lambda: value(server, ready) == 1, 60, system.logs)
            # The worker is scraped on a beat of its own: what it counts may come after what the monitor does.
            of_worker = 'upswell_worker_uploads_total{outcome="stored"}'
            wait_until(lambda: value(server, of_worker) >= 1, 60, system.logs)

            def silent() -> list[str]:
                return [query for query in queries() if not server.query(query)]

            wait_until(lambda: not silent(), 60, lambda: str(silent()))

            def gone() -> set[str]:
                named = set(server.get("/api/v1/label/__name__/values"))
                return {name for name in METRICS if not any(one.startswith(name) for one in named)}

            wait_until(lambda: not gone(), 60, lambda: str(gone()))
            assert not {label for label in server.get("/api/v1/labels") if "worker" in label}

            # Prometheus itself evaluates the rules, on what a real system tells.
            def rules() -> list[dict[str, Any]]:
                return [rule for group in server.get("/api/v1/rules")["groups"] for rule in group["rules"]]

            def down_is() -> str:
                return next(rule["state"] for rule in rules() if rule["name"] == "UpswellMonitorDown")

            assert [rule["name"] for rule in rules() if rule["health"] == "err"] == []
            wait_until(lambda: down_is() == "inactive", 60, down_is)  # a scrape that was too late: pending
            command.send_signal(signal.SIGINT)
            command.wait(60)
            down = 'ALERTS{alertname="UpswellMonitorDown", alertstate="pending"}'
            wait_until(lambda: bool(server.query(down)), 60, lambda: str(server.query("ALERTS")))


def test_promtool_accepts_rules_and_configuration(promtool: str) -> None:
    for kind, path in (("rules", RULES), ("config", RULES.with_name("prometheus.yml"))):
        checked = subprocess.run([promtool, "check", kind, path], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_on_what_it_is_for(promtool: str) -> None:
    tested = subprocess.run(
        [promtool, "test", "rules", RULE_TESTS], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_is_tested_to_fire_and_to_be_silent() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    text = RULE_TESTS.read_text()
    silent = set(re.findall(r"alertname: (\w+)(?:, eval_time: \w+, exp_alerts: \[\])?\}", text)) | set(
        re.findall(r"alertname: (\w+), eval_time: \w+, exp_alerts: \[\]", text)
    )
    fired = set(re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels", text))
    assert len(alerts) == 14
    listed = re.findall(r"(?m)^\| `(Upswell\w+)` \| \w+ \|", PAGE.read_text("utf-8"))
    assert alerts == fired == silent == set(listed)


def test_rules_and_dashboard_name_metrics_and_labels_that_there_are() -> None:
    for text in (RULES.read_text(), json.dumps(DASHBOARD)):
        named = set(re.findall(r"\bupswell_[a-z_]+", text))
        known = {*METRICS, "upswell_response_time_seconds_bucket"}
        assert named <= known, named - known


def test_the_dashboard_explains_its_panels_and_none_lies_over_another() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len(panels) >= 20
