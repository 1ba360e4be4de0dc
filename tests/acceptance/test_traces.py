"""One trace an upload, from publisher to report, through a real collector; real commands, both brokers."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support.otlp_collector import Collector, collecting, missing
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = {"send", "queue", "process", "source", "store", "report"}


@pytest.fixture(params=["sqlite", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else request.getfixturevalue("rabbitmq")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    if lacking := missing():
        skip_or_fail(lacking)
    with collecting(tmp_path) as collector:
        yield collector


def whole(collector: Collector, count: int) -> bool:
    return sum(spans.keys() >= PARTS for spans in collector.traces().values()) >= count


def test_each_upload_is_one_trace_over_both_processes(
    tmp_path: Path, broker_url: str, collector: Collector
) -> None:
    app = f"t{secrets.token_hex(4)}"
    settings = {"broker_url": broker_url, "traces": collector.url, "retry_backoff": 0.01, "delivery_limit": 2}
    with System(tmp_path / "s", app_id=app, **settings) as system:
        worker = system.start("worker", "--app", app)
        system.publish(system.make_requests(3, size=100_000))
        wait_until(lambda: whole(collector, 3), 90, lambda: f"{collector.spans} {system.logs()}")
        for trace, spans in collector.traces().items():
            send, process = spans["send"], spans["process"]
            assert send.parent == ""
            assert (send.service, process.service) == ("upswell-publisher", "upswell-worker")
            assert {spans["queue"].parent, process.parent} == {send.id}
            assert {spans[part].parent for part in ("source", "store", "report")} == {process.id}
            assert spans["queue"].end == process.begin
            assert process.begin <= spans["source"].begin <= spans["store"].begin < spans["report"].begin
            assert spans["report"].end <= process.end
            assert process.attributes["messaging.destination.name"] == f"{app}_upload"
            assert process.attributes["messaging.system"] == ("rabbitmq" if broker_url else "sqlite")
            assert process.attributes["upswell.outcome"] == "stored"
            assert process.attributes["upswell.bytes"] > 0
            assert not any(span.failed for span in spans.values())
            assert len({span.trace for span in collector.spans if span.id == send.id}) == 1, trace
        assert len(collector.traces()) == 3
        # One that fails twice and dies: two attempts in one trace, errors, and log lines with its ids.
        none = system.sources / "none"
        gone = system.folder / "gone.jsonl"
        gone.write_text(json.dumps({"type": "file", "uri": f"file://{none}", "key": "none"}))
        system.publish(gone)
        wait_until(
            lambda: any(span.attributes.get("upswell.outcome") == "dead" for span in collector.spans),
            90,
            lambda: f"{collector.spans} {system.logs()}",
        )
        dead = next(span for span in collector.spans if span.attributes.get("upswell.outcome") == "dead")
        assert dead.failed
        line = next(line for line in system.said().splitlines() if "worker.upload_dead" in line)
        assert f"trace_id={dead.trace}" in line
        assert f"span_id={dead.id}" in line
        # Retried by hand, it is still the same trace.
        none.write_bytes(b"now it is there")
        system.run("dead", "retry", "--app", app, "--all")
        wait_until(
            lambda: any(
                span.trace == dead.trace and span.attributes.get("upswell.outcome") == "stored"
                for span in collector.spans
            ),
            90,
            lambda: f"{collector.spans} {system.logs()}",
        )
        worker.terminate()
        assert worker.wait(60) == 0


APPLICATION = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from upswell import Client

trace.set_tracer_provider(TracerProvider())  # the application's own; it exports nothing here
with trace.get_tracer("shop").start_as_current_span("order") as order, Client() as uploads:
    upload = uploads.publish(sys.argv[1], sys.argv[2])
    print(f"{order.get_span_context().trace_id:032x}", f"{order.get_span_context().span_id:016x}")
    upload.wait(timeout=90)
"""


@pytest.mark.parametrize("publisher_traces", [True, False])
def test_an_upload_is_part_of_what_the_publishers_own_program_does(
    tmp_path: Path, collector: Collector, publisher_traces: bool
) -> None:
    with System(tmp_path / "s", app_id="shop", traces=collector.url) as system:
        system.start("worker", "--app", "shop")
        system.make_requests(1, size=1000)
        environment = dict(system.environment)
        if not publisher_traces:
            del environment["UPSWELL_TRACES"]
        done = subprocess.run(
            [sys.executable, "-c", APPLICATION, "shop", str(system.sources / "00000.bin")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr + system.logs()
        trace, order = done.stdout.split()
        wanted = PARTS if publisher_traces else PARTS - {"send"}
        wait_until(lambda: collector.traces()[trace].keys() >= wanted, 60, lambda: str(collector.spans))
        spans = collector.traces()[trace]
        assert spans["send" if publisher_traces else "process"].parent == order


def test_a_collector_that_is_away_is_said_once_and_stops_no_upload(tmp_path: Path) -> None:
    with System(tmp_path / "s", app_id="a", traces="http://127.0.0.1:9") as system:
        worker = system.start("worker", "--app", "a")
        requests = system.make_requests(5, size=1000)
        system.run("publish", "--app", "a", "--wait", str(requests), timeout=100)
        wait_until(lambda: "event=traces.lost" in system.said(), 60, system.logs)
        worker.terminate()
        assert worker.wait(60) == 0
        text = (system.folder / "worker.log").read_text()
        assert len(re.findall("event=traces.lost", text)) <= 2
        assert all(line.startswith("at=") for line in text.splitlines()), text
