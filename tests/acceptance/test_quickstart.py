"""The course's own commands, as they stand in quickstart/README.md, on both brokers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICKSTART = Path(__file__).parents[2] / "quickstart"
ORIGINALS = Path(__file__).parents[1] / "support" / "course_programs.py"


class Course:
    """A copy of the folder, so that its settings may be edited as a student would."""

    def __init__(self, folder: Path, broker_url: str, app_id: str) -> None:
        self.folder = folder / "quickstart"
        shutil.copytree(QUICKSTART, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.app_id = app_id
        self.reports = f"{app_id}_DSTREPORT"
        settings = self.folder / "upswell.toml"
        settings.write_text(settings.read_text().replace("[apps.e123456]", f"[apps.{app_id}]"))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UPSWELL_", "AMQPURL"))}
        self.environment = {
            **inherited,
            "UPSWELL_STATE_DIR": str(folder / "state"),
            "UPSWELL_FLEET": "process",
            "UPSWELL_SLO": "95% < 1s",
            "UPSWELL_HANDLERS_SIMULATE_SECONDS": "0.1",
            "UPSWELL_DECISION_INTERVAL": "0.5",
            **({"AMQPURL": broker_url} if broker_url else {}),
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, *arguments: str) -> Callable[[], str]:
        """Start a script in the background; return what reads its output so far."""
        log = self.folder / f"{Path(script).name}-{len(self._started)}.log"
        with log.open("wb") as output:
            self._started.append(
                subprocess.Popen(
                    [sys.executable, script, *arguments],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=output,
                    stderr=output,
                )
            )
        return lambda: log.read_text("utf-8", "replace")

    def worker(self, *more: str) -> Callable[[], str]:
        """Start the worker; return what reads its output."""
        queue = f"{self.app_id}_upload"
        arguments = ["--app_id", self.app_id, "--upload_queuename", queue, "--report_queuename", self.reports]
        return self.start("direct_subscriber_worker.py", *arguments, *more)

    def publish(self, data: str = "sample_upload_request.json") -> str:
        """Publish a request file to the end; return what was printed."""
        arguments = [
            "--app_id",
            self.app_id,
            "--upload_queuename",
            f"{self.app_id}_upload",
            "--input_data",
            data,
        ]
        return self.run("direct_publisher.py", *arguments)

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run `python ARGUMENTS` to the end; return what was printed."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        ).stdout

    def original(self, role: str) -> Callable[[], str]:
        """Start one of the course's own programs; return what reads its output."""
        names = (self.app_id, f"{self.app_id}_upload", self.reports)
        return self.start(str(ORIGINALS), role, self.environment["AMQPURL"], *names)

    def without_engine(self) -> None:
        """Have the fleet that stands in the folder's settings, Docker, and no engine: no worker starts."""
        del self.environment["UPSWELL_FLEET"]
        self.environment["DOCKER_HOST"] = f"unix://{self.folder}/no-engine"

    def stop(self) -> list[int]:
        """Press Ctrl-C in each terminal, the latest first; return the exit codes."""
        codes: list[int] = []
        for process in reversed(self._started):
            process.send_signal(signal.SIGINT)
            try:
                codes.append(process.wait(60))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        self._started = []
        return codes


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def course(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Course]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    made = Course(tmp_path, url, f"e{uuid4().hex[:6]}")
    yield made
    made.stop()


@pytest.mark.slow
def test_slow_reports_start_workers_which_leave_at_ctrl_c(course: Course) -> None:
    worker = course.worker("--seconds", "1-2")
    monitor = course.start("simple_congestion_monitor.py", "--report_queuename", course.reports)
    wait_until(
        lambda: "monitor.started" in monitor() and "worker.started" in worker(),
        60,
        lambda: worker() + monitor(),
    )
    assert f"published 5 requests of {course.app_id}" in course.publish()
    wait_until(lambda: "took longer than 1 s" in monitor(), 60, monitor)
    wait_until(lambda: "scaler.worker_started" in monitor(), 60, monitor)
    time.sleep(1)
    assert course.stop() == [0, 0], monitor() + worker()
    # Ctrl-C may interrupt a start before it is logged; that worker leaves all the same.
    assert monitor().count("scaler.worker_left") >= monitor().count("scaler.worker_started")
    assert "Traceback" not in monitor() + worker()


@pytest.mark.slow
def test_workers_that_are_not_needed_any_more_leave_by_themselves(course: Course) -> None:
    """Monitor and scaler share a name and a connection: each must hear every status, not half of them."""
    course.environment |= {
        "UPSWELL_WINDOW": "10",
        "UPSWELL_STABILIZATION_WINDOW": "2",
        "UPSWELL_DECISION_INTERVAL": "2",  # the broker may take ten seconds to answer: five of these
        "UPSWELL_STATUS_INTERVAL": "4",  # and so may a worker: after three of these it is silent
    }
    worker = course.worker("--seconds", "1-2")
    monitor = course.start("simple_congestion_monitor.py", "--report_queuename", course.reports)
    wait_until(
        lambda: "monitor.started" in monitor() and "worker.started" in worker(),
        60,
        lambda: worker() + monitor(),
    )
    course.publish()
    wait_until(lambda: "scaler.worker_started" in monitor(), 60, monitor)
    wait_until(lambda: "scaler.worker_left" in monitor(), 90, monitor)
    assert "signals_lost" not in monitor()


@pytest.mark.slow
def test_without_docker_one_line_names_the_way_out_and_status_works_beside_it(course: Course) -> None:
    course.without_engine()
    settings = course.folder / "upswell.toml"
    settings.write_text(settings.read_text().replace('"DSTREPORT"', f'"{course.reports}"'))
    worker = course.worker("--seconds", "1-2")
    monitor = course.start("simple_congestion_monitor.py", "--report_queuename", course.reports)
    wait_until(lambda: "worker.started" in worker() and "monitor.started" in monitor(), 60, monitor)
    course.publish()
    # How many reports a round sees is chance: 1 → 2, 1 → 3, or all at once.
    wait_until(lambda: re.search(r"scale out \d+ → \d+", monitor()) is not None, 60, monitor)

    def told() -> list[str]:
        """Return the errors; that one process held up the other, on a busy machine, is none of ours."""
        errors = [line for line in monitor().splitlines() if "level=error" in line]
        return [line for line in errors if "broker.held_up" not in line]

    wait_until(lambda: len(told()) > 0, 60, monitor)
    assert "UPSWELL_FLEET=process" in told()[0]
    shown = ""

    def works() -> bool:
        """Status listens for its heart for some seconds."""
        nonlocal shown
        shown = course.run("-m", "upswell", "status", check=False)
        return "monitor is working" in shown

    wait_until(works, 60, lambda: shown + monitor())
    assert len(told()) == 1, monitor()  # the scaler, which looks once a second, has tried again by now
    assert any(one in shown for one in re.findall(r"scale out \d+ → \d+", monitor())), shown
    assert course.stop() == [0, 0], monitor() + worker()


@pytest.mark.slow
def test_reports_of_an_application_that_is_not_in_the_settings_start_nothing(course: Course) -> None:
    """Anyone can send a report: a report alone must not be able to start a program."""
    worker = course.worker("--seconds", "1-2")
    wait_until(lambda: "worker.started" in worker(), 60, worker)
    settings = course.folder / "upswell.toml"
    settings.write_text(settings.read_text().replace(f"[apps.{course.app_id}]", "[apps.another]"))
    monitor = course.start("simple_congestion_monitor.py", "--report_queuename", course.reports)
    course.publish()
    wait_until(lambda: f"monitor.application_unknown app={course.app_id}" in monitor(), 60, monitor)
    time.sleep(2)
    assert "scaler.worker_started" not in monitor()


def test_with_a_destination_the_worker_uploads_for_real(course: Course) -> None:
    (course.folder / "photo.jpg").write_bytes(b"not really a photo")
    uri = (course.folder / "photo.jpg").as_uri()
    (course.folder / "mine.json").write_text(json.dumps([{"type": "image", "uri": uri}]))
    worker = course.worker("--destination", "uploaded")
    course.publish("mine.json")
    uploaded = course.folder / "uploaded"
    wait_until(lambda: any(uploaded.rglob("photo.jpg")), 60, worker)
    assert next(uploaded.rglob("photo.jpg")).read_bytes() == b"not really a photo"


def in_order(*programs: tuple[Callable[[], Callable[[], str]], str]) -> list[Callable[[], str]]:
    """Start programs, each once the one before has printed its sign; return what reads their outputs."""
    outputs: list[Callable[[], str]] = []
    for start, sign in programs:
        output = start()
        wait_until(lambda said=output, sign=sign: sign in said(), 60, output)
        outputs.append(output)
    return outputs


@pytest.fixture
def shared(rabbitmq: str, tmp_path: Path) -> Iterator[Course]:
    """A course on RabbitMQ, whose queues the course's own programs declare too."""
    made = Course(tmp_path, rabbitmq, f"e{uuid4().hex[:6]}")
    yield made
    made.stop()


ORDERS = pytest.mark.parametrize("order", [1, -1], ids=["ours first", "theirs first"])


@pytest.mark.rabbitmq
@ORDERS
def test_the_courses_own_publisher_and_worker_share_queues_with_our_monitor(
    shared: Course, order: int
) -> None:
    shared.without_engine()  # a worker of ours would take some of the five requests
    ours = partial(shared.start, "simple_congestion_monitor.py", "--report_queuename", shared.reports)
    theirs = partial(shared.original, "worker")
    monitor, worker = in_order(*[(ours, "monitor.started"), (theirs, "waiting")][::order])[::order]
    shared.original("publisher")
    wait_until(lambda: worker().count("uploaded") == 5, 60, lambda: worker() + monitor())
    wait_until(lambda: "took longer than 1 s" in monitor(), 60, lambda: worker() + monitor())
    assert "queue_differs" not in monitor()


@pytest.mark.rabbitmq
@ORDERS
def test_the_courses_own_publisher_and_monitor_share_queues_with_our_worker(
    shared: Course, order: int
) -> None:
    ours, theirs = partial(shared.worker, "--seconds", "0.1-0.2"), partial(shared.original, "monitor")
    worker, monitor = in_order(*[(ours, "worker.started"), (theirs, "waiting")][::order])[::order]
    shared.original("publisher")
    shared.publish()  # ours
    wait_until(lambda: monitor().count("reported") == 10, 60, lambda: worker() + monitor())
    assert "queue_differs" not in worker()


@pytest.mark.parametrize("script", sorted(QUICKSTART.glob("*.py")), ids=lambda path: path.name)
def test_each_script_has_fewer_than_40_lines(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 40
