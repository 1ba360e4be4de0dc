"""Metrics, health and readiness over HTTP, with clients that mean harm and a loop that stands still."""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from upswell.errors import SettingsError
from upswell.metrics import server as served
from upswell.metrics.figures import METRICS, Distribution, Figure
from upswell.metrics.part_metrics import Readiness
from upswell.metrics.server import MOST_CLIENTS, Exposed, parse_address, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

HOSTILE = 'a"b\\c\nupswell_workers{app="forged"} 1 # </script>\u202e\x00'


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand still for ten seconds, and it is no fault: here client and loop are one process."""
    monkeypatch.setattr(served, "STUCK_SECONDS", 60.0)
    monkeypatch.setattr(served, "REQUEST_SECONDS", 60.0)
    monkeypatch.setattr(served._Handler, "timeout", 60.0)


def everything() -> list[Figure]:
    """Return a figure of each metric, with the most hostile labels."""
    distribution = Distribution(((0.1, 1), (30.0, 4)), 5, 70.0)
    return [
        Figure(name, (HOSTILE,) * len(metric.labels), distribution if metric.kind == "histogram" else 1.5)
        for name, metric in METRICS.items()
        if name not in ("upswell_ready", "upswell_build_info")
    ]


def get(address: tuple[str, int], path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def serve(
    work: Callable[[tuple[str, int]], Awaitable[None]], words: str = "working", *, ready: bool = True
) -> None:
    """Run `work` with the address of a server."""

    async def run() -> None:
        parts = Exposed([everything], [lambda: Readiness("monitor", ready, words)])
        async with serving("127.0.0.1:0", parts) as address:
            await work(address)

    asyncio.run(run())


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_hostile_names_stay_inside_their_label(accept: str) -> None:
    async def work(address: tuple[str, int]) -> None:
        status, text = await asyncio.to_thread(get, address, "/metrics", Accept=accept)
        assert status == 200
        lines = [line for line in text.splitlines() if line.startswith("upswell_workers{")]
        inside = HOSTILE.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        assert lines == [f'upswell_workers{{app="{inside}",state="{inside}"}} 1.5']

    serve(work)


def test_promtool_finds_no_fault(promtool: str) -> None:
    async def work(address: tuple[str, int]) -> None:
        _, text = await asyncio.to_thread(get, address, "/metrics")
        text = text.replace("\x00", "")
        checked = await asyncio.to_thread(
            subprocess.run, [promtool, "check", "metrics"], input=text, text=True, capture_output=True
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    serve(work)


def test_readiness_says_the_state_and_health_that_the_loop_turns() -> None:
    async def work(address: tuple[str, int]) -> None:
        assert await asyncio.to_thread(get, address, "/readyz") == (503, "monitor: failing\n")
        assert await asyncio.to_thread(get, address, "/healthz") == (200, "ok\n")
        assert (await asyncio.to_thread(get, address, "/elsewhere"))[0] == 404

    serve(work, "failing", ready=False)


def test_a_loop_that_stands_still_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(served, "REQUEST_SECONDS", 0.5)
    found: list[tuple[int, str]] = []

    async def work(address: tuple[str, int]) -> None:
        def ask() -> None:
            while "stood still" not in (answer := get(address, "/healthz"))[1]:
                pass
            found.append(answer)
            found.append(get(address, "/metrics"))

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(60)  # on the loop: it stands still

    serve(work)
    assert [status for status, _ in found] == [503, 503]
    assert found[1][1] == "the loop does not answer\n"


@contextmanager
def hanging(address: tuple[str, int]) -> Iterator[None]:
    """Have more clients than the server takes begin a request, and say no more."""
    with ExitStack() as stack:
        for _ in range(3 * MOST_CLIENTS):
            client = stack.enter_context(socket.create_connection(address, timeout=60))
            client.sendall(b"GET /metr")
        yield


def test_clients_that_hang_do_not_keep_others_out_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread gives its place free just before it ends: while they are counted, nobody's time is over.
    monkeypatch.setattr(served._Handler, "timeout", 600.0)

    async def work(address: tuple[str, int]) -> None:
        with hanging(address):
            threads = [thread for thread in threading.enumerate() if "process_request" in thread.name]
            assert len(threads) <= MOST_CLIENTS
        monkeypatch.setattr(served._Handler, "timeout", 1.0)
        with hanging(address):
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert (await asyncio.to_thread(get, address, "/healthz")) == (200, "ok\n")
                except (OSError, http.client.HTTPException):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
                else:
                    return

    serve(work)


def test_an_endless_header_is_refused() -> None:
    async def work(address: tuple[str, int]) -> None:
        def ask() -> bytes:
            with socket.create_connection(address, timeout=60) as client:
                # Exactly what it reads before it refuses: what came after would reset the answer.
                client.sendall(b"GET /metrics HTTP/1.0\r\n" + b"X: ".ljust(65_537, b"a"))
                return client.recv(100)

        assert b" 431 " in await asyncio.to_thread(ask)

    serve(work)


def test_an_address_that_is_taken_is_named() -> None:
    async def work(address: tuple[str, int]) -> None:
        with pytest.raises(SettingsError, match=rf"127.0.0.1:{address[1]}: Address already in use"):
            async with serving(f"127.0.0.1:{address[1]}", Exposed([], [])):
                pass

    serve(work)


def test_a_port_alone_is_one_of_this_machine() -> None:
    assert parse_address("9464") == ("127.0.0.1", 9464)
    assert parse_address("metrics.internal:1") == ("metrics.internal", 1)
    for wrong in ("", "host", "host:", "1:2:3", "host:70000", "::1:80"):
        with pytest.raises(SettingsError, match="host:port"):
            parse_address(wrong)
