"""One trace an upload, from publisher to report, through a real collector; real commands, both brokers."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support.otlp_collector import Collector, Received, collecting, missing
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTS = {"send", "queue", "process", "source", "store", "report"}
ROUNDS = 3
"""A collector that is held up for five seconds loses what came meanwhile, by design: then there is a next."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["sqlite", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else request.getfixturevalue("rabbitmq")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    if lacking := missing():
        skip_or_fail(lacking)
    with collecting(tmp_path) as collector:
        yield collector


def whole(collector: Collector) -> dict[str, dict[str, Received]]:
    """Return the traces that have all their parts."""
    return {trace: spans for trace, spans in collector.traces().items() if spans.keys() >= PARTS}


def comes(condition: Callable[[], bool], timeout: float = 60.0) -> bool:
    """Return whether it holds in time."""
    deadline = time.monotonic() + timeout
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


def publish_until_whole(system: System, collector: Collector, count: int) -> int:
    """Publish uploads until so many traces are whole; return how many were published."""
    requests = system.make_requests(count, size=100_000)
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    for number in range(1, ROUNDS + 1):
        fresh = [{**line, "key": f"{number}-{line['key']}"} for line in lines]
        requests.write_text("".join(f"{json.dumps(line)}\n" for line in fresh))
        system.publish(requests)
        if comes(lambda: len(whole(collector)) >= count):
            return number * count
    raise AssertionError(f"{collector.spans} {system.logs()}")


def dies_and_is_retried(system: System, collector: Collector, name: str) -> bool:
    """Have an upload die, and retry it by hand; return whether the collector heard of both in one trace."""
    none, gone = system.sources / name, system.folder / "gone.jsonl"
    gone.write_text(json.dumps({"type": "file", "uri": f"file://{none}", "key": name}))

    def died() -> list[str]:
        return [line for line in system.said().splitlines() if "worker.upload_dead" in line]

    before = len(died())
    system.publish(gone)
    wait_until(lambda: len(died()) > before, 90, system.logs)
    (trace,) = re.findall(r"trace_id=(\w+)", died()[-1])

    def heard(outcome: str) -> list[Received]:
        spans = [span for span in collector.spans if span.trace == trace]
        return [span for span in spans if span.attributes.get("upswell.outcome") == outcome]

    is_heard = comes(lambda: heard("dead") != [])
    if is_heard:
        assert heard("dead")[0].failed
        assert f"span_id={heard('dead')[0].id}" in died()[-1]
    none.write_bytes(b"now it is there")
    system.run("dead", "retry", "--app", system.app_id, "--all")
    return is_heard and comes(lambda: heard("stored") != [])


def test_each_upload_is_one_trace_over_both_processes(
    tmp_path: Path, broker_url: str, collector: Collector
) -> None:
    app = f"t{secrets.token_hex(4)}"
    settings = {"broker_url": broker_url, "traces": collector.url, "retry_backoff": 0.01, "delivery_limit": 2}
    with System(tmp_path / "s", app_id=app, **settings) as system:
        worker = system.start("worker", "--app", app)
        published = publish_until_whole(system, collector, 3)
        for trace, spans in whole(collector).items():
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
        assert len(collector.traces()) <= published
        # One that fails twice and dies: errors, and log lines with its ids. Retried by hand, it is still the
        # same trace.
        names = [f"none{number}" for number in range(ROUNDS)]
        heard = any(dies_and_is_retried(system, collector, name) for name in names)
        assert heard, f"{collector.spans} {system.logs()}"
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
        system.make_requests(ROUNDS, size=1000)
        environment = dict(system.environment)
        if not publisher_traces:
            del environment["UPSWELL_TRACES"]
        wanted = PARTS if publisher_traces else PARTS - {"send"}
        orders: dict[str, str] = {}

        def whole_ones() -> list[str]:
            return [trace for trace in orders if collector.traces()[trace].keys() >= wanted]

        for file in sorted(system.sources.iterdir()):
            done = subprocess.run(
                [sys.executable, "-c", APPLICATION, "shop", str(file)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
            assert done.returncode == 0, done.stderr + system.logs()
            trace, order = done.stdout.split()
            orders[trace] = order
            if comes(lambda: whole_ones() != []):
                break
        assert whole_ones() != [], collector.spans
        for trace in whole_ones():
            spans = collector.traces()[trace]
            assert spans["send" if publisher_traces else "process"].parent == orders[trace]


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
