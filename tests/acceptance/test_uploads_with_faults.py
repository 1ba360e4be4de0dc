"""Uploads from web servers and files to a real server of S3 while everything in between breaks at random.

The web server cuts, resets, stalls, refuses and lies; the connections to the store are cut, stalled and
corrupted, those to RabbitMQ cut and stalled; workers are killed. At the end every object is there with the
right bytes, none is dead, and no part of one is left behind: counted with rclone, straight at the store, past
the proxy. Once over the embedded broker, where uploads may overwrite, and once over RabbitMQ, where they may
not: there large ones go another way to S3.

UPSWELL_FAULTS=10000 tells how many uploads (`make faults`); some hundred by default. UPSWELL_FAULTS_SEED
draws other things and faults.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support import bad_http_server, rclone, s3_server
from support.bad_http_server import BadHttpServer, broken, status, whole
from support.system import System, wait_until
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.bad_http_server import Behaviour, Exchange

UPLOADS = int(os.environ.get("UPSWELL_FAULTS", "300"))
MANY = 1000
SECONDS = 120 + UPLOADS / 5
"""How long it may take: a busy machine uploads some dozen a second, and the faults take their share."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS + 240)]

PREFIX = "faults"
WORKERS = 2
LARGE = 6 * 1024 * 1024
SETTINGS = {
    "slots": 8,
    "delivery_limit": 200,
    "retry_backoff": 0.1,
    "stores_http_read_timeout": 1,
    "stores_http_connect_timeout": 2,
    "stores_objects_timeout": 4,
    "upload_timeout": 30,
    # Some hundred uploads must last long enough for each fault to come; thousands do by themselves.
    "upload_rate_limit": 3_000_000 if UPLOADS < MANY else 0,
    "stores_objects_part_size": 5 * 1024 * 1024,
}


class Things:
    """What is uploaded: number -> bytes, made anew whenever they are asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def body(self, number: int) -> bytes:
        """Return the bytes of one: small, middling, and now and then of two parts."""
        rng = random.Random(f"{self._seed}/{number}")
        size = LARGE if number % 50 == 7 else rng.choice([0, 1, 500, 5_000, 50_000, 300_000])
        return rng.randbytes(size)

    def key(self, number: int) -> str:
        """Return the object's name."""
        return f"{number % 7}/é {number:05d}.bin"


def faulty(things: Things, seed: int) -> Behaviour:
    """Answer `/NUMBER` rightly three times out of four, else in one of the bad ways."""
    rng = random.Random(seed)

    def answer(exchange: Exchange) -> None:
        body = things.body(int(exchange.path[1:]))
        chance = rng.random()
        middle = len(body) // 2
        wrong: list[Callable[[], Behaviour]] = [
            lambda: broken(body, middle, bad_http_server.cut),
            lambda: broken(body, middle, bad_http_server.reset),
            lambda: broken(body, middle, lambda one: one.wait(2)),
            lambda: status("500 Internal Server Error"),
            lambda: status("503 Service Unavailable", Retry_After=1),
            lambda: status("429 Too Many Requests"),
            lambda: whole(body[:middle], etag=f'"{uuid.uuid4()}"'),  # half of it, told as if it were all
            lambda: whole(bytes(len(body)), etag=None),  # other bytes of the same length
        ]
        (rng.choice(wrong)() if chance < 0.25 else whole(body))(exchange)

    return answer


class Paths(dict[str, Any]):
    """Every path of a server, answered alike."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour

    def get(self, _path: str, _default: Any = None) -> Any:
        """Return what answers."""
        return self._behaviour


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_proxy(request: pytest.FixtureRequest) -> Iterator[TcpProxy | None]:
    """A proxy before RabbitMQ; None for the embedded broker."""
    if request.param == "sqlite":
        yield None
        return
    with TcpProxy(urlsplit(request.getfixturevalue("rabbitmq")).port or 0) as proxy:
        yield proxy


def stored(endpoint: str) -> dict[str, int]:
    """Return key -> size of what the store holds, as botocore sees it."""
    time.sleep(UPLOADS / 10_000)  # thousands are listed in many pages, and the uploads need the machine
    pages = s3_server.client(endpoint).get_paginator("list_objects_v2")
    listed = pages.paginate(Bucket=s3_server.BUCKET, Prefix=f"{PREFIX}/")
    return {
        entry["Key"].removeprefix(f"{PREFIX}/"): entry["Size"]
        for page in listed
        for entry in page.get("Contents", [])
    }


def write_requests(system: System, server: BadHttpServer, things: Things, count: int) -> Path:
    """Name each thing once: two of three on the web, one as a file."""
    requests: list[dict[str, object]] = []
    for number in range(count):
        body = things.body(number)
        if number % 3:
            uri = server.url(f"/{number}")
        else:
            path = system.sources / f"{number}.bin"
            path.write_bytes(body)
            uri = path.as_uri()
        checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
        requests.append(
            {"type": "file", "uri": uri, "key": things.key(number), "checksum": checksum, "id": f"r{number}"}
        )
    path = system.folder / "requests.jsonl"
    path.write_text(json.dumps(requests))
    return path


class Faults(threading.Thread):
    """Breaks something every quarter of a second until told to stop; `made` counts what it did."""

    def __init__(self, system: System, store: TcpProxy, broker: TcpProxy | None, seed: int) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._proxy = store
        self._broker = broker
        self._rng = random.Random(seed)
        self._begun = 0
        self._workers = [self._start() for _ in range(WORKERS)]
        self._stopped = threading.Event()
        self._faults = ["cut", "cut", "stall", "corrupt", "corrupt", "corrupt", "kill", "refuse"]
        if broker is not None:
            self._faults.append("disturb_broker")
        self.made = dict.fromkeys(self._faults, 0)

    def run(self) -> None:
        """Break things."""
        while self._wait_for_workers():
            self._rng.shuffle(self._faults)  # each comes in each round, so that a short run has them all
            for fault in self._faults:
                if self._stopped.wait(0.25):
                    return
                self.made[fault] += 1
                getattr(self, f"_{fault}")()

    def stop(self) -> None:
        """Break nothing more."""
        self._stopped.set()
        self.join()

    def drain(self) -> None:
        """Let the workers end what they have in hand, and leave."""
        wait_until(self.have_started, 100, self._system.logs)
        for worker in self._workers:
            worker.terminate()
        assert [worker.wait(100) for worker in self._workers] == [0] * len(self._workers)
        self._workers = []

    def start_worker(self) -> None:
        """Start one for what is left to do."""
        self._workers.append(self._start())

    def have_started(self) -> bool:
        """Return whether all workers have: until then nothing breaks."""
        return self._system.said().count("worker.started") >= self._begun

    def _start(self) -> subprocess.Popen[bytes]:
        self._begun += 1
        return self._system.start("worker")

    def _wait_for_workers(self) -> bool:
        """Return whether to go on, once all workers have started: where none ever does, nothing is stored."""
        while not self.have_started():
            if self._stopped.wait(0.25):
                return False
        return True

    def _cut(self) -> None:
        self._proxy.cut()

    def _stall(self) -> None:
        self._proxy.stall()
        self._stopped.wait(self._rng.uniform(0.2, 1.5))
        self._proxy.resume()

    def _corrupt(self) -> None:
        self._proxy.corrupt(self._rng.randint(1, 3))

    def _refuse(self) -> None:
        self._proxy.refuse()
        self._stopped.wait(self._rng.uniform(0.2, 1.0))
        self._proxy.accept()

    def _disturb_broker(self) -> None:
        """Hold the connections of workers and publisher still, and cut them."""
        assert self._broker is not None
        self._broker.stall()
        self._stopped.wait(self._rng.uniform(0.0, 0.5))
        self._broker.cut()
        self._broker.resume()

    def _kill(self) -> None:
        """Kill a worker and start another: the scaler would wait longer each time, as it should."""
        victim = self._rng.choice(self._workers)
        victim.kill()
        victim.wait()
        self._workers[self._workers.index(victim)] = self._start()


def test_no_upload_is_lost_or_wrong_whatever_breaks_on_the_way(
    endpoint: str,
    broker_proxy: TcpProxy | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    count = UPLOADS if UPLOADS >= MANY or not broker_proxy else UPLOADS * 2 // 3
    seed = int(os.environ.get("UPSWELL_FAULTS_SEED", "1"))
    things = Things(seed)
    with BadHttpServer() as server, TcpProxy(urlsplit(endpoint).port or 80) as proxy:
        server.paths = Paths(faulty(things, seed))
        settings = {
            **SETTINGS,
            "store_endpoint": f"http://127.0.0.1:{proxy.port}",
            "source_origins": f"http://127.0.0.1:{server.port}",
            "source_networks": "127.0.0.0/8",
            "on_conflict": "fail" if broker_proxy else "overwrite",
        }
        url = f"amqp://guest:guest@127.0.0.1:{broker_proxy.port}/%2F" if broker_proxy else ""
        app_id = f"f{uuid.uuid4().hex[:12]}"
        with System(tmp_path / "system", broker_url=url, app_id=app_id, **settings) as system:
            system.environment["UPSWELL_DESTINATION"] = f"s3://{s3_server.BUCKET}/{PREFIX}"
            requests = write_requests(system, server, things, count)
            faults = Faults(system, proxy, broker_proxy, seed)
            wait_until(faults.have_started, 100, system.logs)  # else one uploads all before the first fault
            began = time.monotonic()
            faults.start()
            system.start("publish", "--app", system.app_id, str(requests))
            try:
                wait_until(
                    lambda: len(stored(endpoint)) >= count * 0.9,
                    SECONDS,
                    lambda: (
                        f"{len(stored(endpoint))} of {count} {faults.made} {system.dead()} {system.logs()}"
                    ),
                )
            finally:
                faults.stop()

            def all_is_there() -> bool:
                return len(stored(endpoint)) == count and not s3_server.unfinished(endpoint)

            while True:
                wait_until(
                    all_is_there,
                    120,
                    lambda: (
                        f"{len(stored(endpoint))} of {count}, unfinished: {s3_server.unfinished(endpoint)}, "
                        f"{faults.made} {system.dead()} {system.logs()}"
                    ),
                )
                # One that was just corrupted on its way is there until its worker has read it back.
                faults.drain()
                if all_is_there():
                    break
                faults.start_worker()
            took = time.monotonic() - began
            assert system.dead() == {}
    remote, copies = rclone.s3(endpoint), tmp_path / "copies"
    rclone.read_all(f"{remote}/{PREFIX}", copies)
    for number in range(count):
        copy = copies / things.key(number)
        assert copy.read_bytes() == things.body(number), f"{things.key(number)} has wrong bytes"
    assert sorted(rclone.names(f"{remote}/{PREFIX}")) == sorted(things.key(n) for n in range(count))
    assert rclone.unfinished(remote) == []
    assert min(faults.made.values()) > 0, f"too few faults to prove anything: {faults.made}"
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what one runs this for
            f"\n{count} uploads over {'RabbitMQ' if broker_proxy else 'the embedded broker'}, seed {seed}, "
            f"in {took:.0f} s: 0 lost, 0 wrong, 0 dead, 0 parts left, as rclone counts; {faults.made}, "
            f"{proxy.corrupted} pieces corrupted, {len(server.asked)} requests to the web server"
        )
