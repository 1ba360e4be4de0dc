"""The page's server as a process: who gets what, and what a bad journal or a bad visitor does to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from support.dashboard_page import ServedPage, served_page
from support.recorded_journal import BEGIN, write_journal
from support.recorded_week import _entry as week_entry
from upswell.journal import Journal, JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


def environment_of(state: Path, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UPSWELL_", "AMQPURL"))}
    return {**inherited, "UPSWELL_STATE_DIR": str(state), "UPSWELL_CONFIG": "/dev/null", **more}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard") / "state"
    folder.mkdir()
    settings = {"policy": "threshold", "max_workers": 20, "min_workers": 1, "decision_interval": 2.0}
    write_journal(folder / "journal.sqlite", app="photos", settings=settings)
    return folder


@pytest.fixture(scope="module")
def page(state: Path) -> Iterator[ServedPage]:
    with served_page(environment_of(state), state.parent / "dashboard.log") as served:
        yield served


@contextmanager
def connection(page: ServedPage) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=60)
    try:
        yield made
    finally:
        made.close()


def ask(
    page: ServedPage, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connection(page) as made:
        text = None if body is None else json.dumps(body)
        made.request(method, f"/{path}", text, {**(JSON if body is not None else {}), **named})
        answer = made.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def told(page: ServedPage, path: str, **query: Any) -> Any:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    status, _, body = ask(page, f"api/{path}{'?' if text else ''}{text}")
    assert status == 200, body
    return json.loads(body)


def events(page: ServedPage, path: str = "api/events?app=photos") -> tuple[socket.socket, bytes]:
    """Open an event stream and return it with what came until the end of the first event."""
    host, port = urlsplit(page.url).netloc.split(":")
    opened = socket.create_connection((host, int(port)), timeout=60)
    opened.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return opened, received(opened, rb"event: tick\ndata: [^\n]*\n\n")


def received(opened: socket.socket, pattern: bytes) -> bytes:
    """Return what comes on a stream until a pattern is in it, pings and all."""
    came, deadline = b"", time.monotonic() + 90
    while re.search(pattern, came) is None:
        assert time.monotonic() < deadline, came
        came += (piece := opened.recv(65536))
        assert piece, "the server has hung up"
    return came


def test_every_file_of_the_page_is_served_under_strict_headers(page: ServedPage) -> None:
    status, headers, body = ask(page, "")
    assert status == 200
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    text = body.decode()
    assert "http://" not in text
    assert "https://" not in text
    for path in ("page/main.js", "page/tokens.css", "page/mark.svg", "vendor/uplot.js", "vendor/uplot.css"):
        assert ask(page, path)[0] == 200, path
    for path in ("page/../app.py", "page/%2e%2e/app.py", "vendor/x", "page/index.py", "etc/passwd"):
        assert ask(page, path)[0] == 404, path


def test_the_charts_of_a_recorded_afternoon_are_told(page: ServedPage) -> None:
    chart = told(page, "apps/photos/chart", begin=BEGIN, end=BEGIN + 700)
    assert sum(chart["columns"]["stored"]) > 450
    assert len(chart["changes"]) > 3
    decision = told(page, f"apps/photos/decisions/{chart['changes'][0]['id']}")
    assert decision["steps"][0]["who"] == "threshold"
    uploads = told(page, "apps/photos/uploads", begin=BEGIN + 200, end=BEGIN + 260)["uploads"]
    assert len(uploads) > 20
    assert [one[1] for one in uploads] == sorted((one[1] for one in uploads), reverse=True)
    assert all(re.fullmatch(r"r\d+-\d+", one[5]) for one in uploads)


@pytest.mark.parametrize(
    "path",
    [
        "apps/..%2f..%2fetc/chart",
        "apps/photos/chart?begin=nan",
        "apps/photos/chart?begin=9&end=1",
        "apps/photos/chart?begin=-1e308&end=1e308",
        "apps/photos/uploads?begin=1&end=999999",
        "apps/photos/decisions/99999999999999999999",
        "apps/a%00b/chart",
        "events?app=%3Cscript%3E",
        "events?offset=x",
        "what-if/none",
    ],
)
def test_a_question_that_makes_no_sense_gets_an_error_in_words(page: ServedPage, path: str) -> None:
    status, _, body = ask(page, f"api/{path}")
    assert status in (400, 404), body
    assert b"Traceback" not in body


def test_nothing_is_written_without_the_token_nor_by_another_page(page: ServedPage) -> None:
    path, own = "api/apps/photos/drain", {"Authorization": f"Bearer {page.token}"}
    assert ask(page, path, "POST", {"worker": "w1"})[0] == 401
    assert ask(page, path, "POST", {"worker": "w1"}, Authorization="Bearer nonsense")[0] == 401
    assert ask(page, path, "POST", {"worker": "w1"}, Origin="https://evil.example", **own)[0] == 403
    assert ask(page, path, "POST", {"worker": "w1"}, Host="evil.example", **own)[0] == 421
    assert ask(page, path, "GET", None, **own)[0] == 405
    status, _, body = ask(page, path, "POST", {"worker": "w1"}, **own)
    assert (status, b"is heard of" in body or b"does not answer" in body) == (400, True)
    assert ask(page, "api/apps/photos/dead/purge", "POST", {}, **own)[0] == 400
    assert ask(page, path, "POST", {"worker": "w" * 20_000}, **own)[0] == 400


@pytest.mark.timeout(900)
def test_a_what_if_question_is_answered_beside_the_server(page: ServedPage) -> None:
    question = {"app": "photos", "begin": BEGIN, "end": BEGIN + 1000, "slo": "99% < 10s", "policy": "slo"}
    status, _, body = ask(page, "api/what-if", "POST", question)
    assert status == 200, body
    asked = json.loads(body)
    deadline = time.monotonic() + 660  # its process lets all others go first, and is given ten minutes
    while asked["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
        asked = told(page, f"what-if/{asked['id']}")
    assert asked["state"] == "done", asked
    answer = asked["answer"]
    assert answer["slo"] == "99% < 10s"
    assert answer["recorded_policy"] == "threshold"
    assert len(answer["timeline"]) > 100
    assert answer["replayed"]["cost"] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "os:system"},
        {"policy": "antigravity.module:Class"},
        {"slo": "fast, please"},
        {"end": 0},
        {"app": "../x"},
        {"journal": "/etc/passwd", "nonsense": 1},
    ],
)
def test_a_question_chooses_no_code_and_no_file(page: ServedPage, wrong: dict[str, Any]) -> None:
    question = {"app": "photos", "begin": BEGIN, "end": BEGIN + 1000, **wrong}
    status, _, body = ask(page, "api/what-if", "POST", question)
    assert status == 400, body


def test_fifty_visitors_and_one_that_hangs_all_get_the_newest(page: ServedPage) -> None:
    hanging, _ = events(page)  # never reads again
    visitors = [events(page) for _ in range(50)]
    try:
        for opened, _ in visitors:
            received(opened, b"id: ")  # a server that was kept waiting sends a ping first
        assert told(page, "overview")["found"] == 1
    finally:
        for opened in (hanging, *(opened for opened, _ in visitors)):
            opened.close()


def test_a_visitor_that_comes_back_is_told_the_present_state_at_once(page: ServedPage) -> None:
    opened, came = events(page)
    opened.close()
    number = came.split(b"id: ")[1].split(b"\n")[0].decode()
    again, came = events(page, f"api/events?app=photos&again={number}")
    again.close()
    assert b'"app":"photos"' in came


def test_a_journal_that_is_broken_locked_or_growing_ends_no_server(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    path = state / "journal.sqlite"
    with served_page(environment_of(state), tmp_path / "dashboard.log") as page:
        assert told(page, "overview")["found"] == 0
        path.write_bytes(b"this is no database" * 1000)
        status, _, body = ask(page, "api/overview")
        assert (status, b"the journal cannot be used" in body) == (400, True)
        path.unlink()
        journal = Journal(path, 50_000_000)
        now = time.time()
        for number in range(50):
            one = week_entry("grows", now - 100 + 2 * number, 3, 10.0 * number, number)
            journal.record([one], [])
        journal.flush()
        with sqlite3.connect(path, isolation_level=None) as file:
            file.execute("BEGIN IMMEDIATE")  # a writer never keeps a reader out
            assert told(page, "apps/grows")["state"]["app"] == "grows"
            file.execute("ROLLBACK")
        before = told(page, "apps/grows")["state"]["at"]
        journal.record([week_entry("grows", now, 5, 600.0, 3)], [])
        journal.close()
        assert told(page, "apps/grows")["state"]["at"] > before


def test_hostile_text_in_a_journal_reaches_no_one_unmasked(tmp_path: Path) -> None:
    state = tmp_path / "state"
    journal = Journal(state / "journal.sqlite", 50_000_000)
    hostile = "<img src=x onerror=alert(1)> amqp://me:s3cret@host/ \x1b[31m\u202e"
    now = time.time()
    one = week_entry("photos", now, 3, 10.0, 1)
    step = replace(one.decision.steps[0], who="w\x1b", why=hostile)
    decision = replace(one.decision, steps=(step,), alarms=("bottleneck",))
    journal.record([replace(one, decision=decision, changed=True)], [])
    journal.close()
    with served_page(environment_of(state), tmp_path / "dashboard.log") as page:
        number = told(page, "apps/photos/chart", begin=now - 60, end=now + 1)["changes"][0]["id"]
        for path in ("api/overview", "api/apps/photos", f"api/apps/photos/decisions/{number}"):
            _, headers, body = ask(page, path)
            assert headers["content-type"] == "application/json"
            assert b"s3cret" not in body
            assert b"\\u001b" not in body.replace(b"\\\\u001b", b"")
            assert "\u202e".encode() not in body


def test_beyond_loopback_whoever_looks_needs_the_token(state: Path, tmp_path: Path) -> None:
    token = "a-token-of-the-team"
    environment = environment_of(state, UPSWELL_DASHBOARD_TOKEN=token)
    arguments = ("--host", "0.0.0.0", "--prefix", "/upswell", "--allow-host", "upswell.example.org")
    log = tmp_path / "dashboard.log"
    with served_page(environment, log, *arguments) as page:
        port = urlsplit(page.url).port
        near = ServedPage(f"http://127.0.0.1:{port}/", token)
        assert ask(near, "upswell/")[0] == 200
        assert ask(near, "upswell/page/main.js")[0] == 200
        assert ask(near, "upswell/api/overview")[0] == 401
        assert ask(near, "upswell/api/events")[0] == 401
        own = {"Authorization": f"Bearer {token}"}
        assert ask(near, "upswell/api/overview", **own)[0] == 200
        assert ask(near, "upswell/api/overview", Host="upswell.example.org", **own)[0] == 200
        assert ask(near, "upswell/api/overview", Host="other.example.org", **own)[0] == 421


def test_looking_changes_nothing_in_the_journal(page: ServedPage, state: Path) -> None:
    before = JournalReader(state / "journal.sqlite").applications()
    told(page, "apps/unknown/chart", begin=BEGIN, end=BEGIN + 10)
    told(page, "apps/unknown")
    assert JournalReader(state / "journal.sqlite").applications() == before
