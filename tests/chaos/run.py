"""The run: publish all the time, break things all the time, then count.

make chaos                     half an hour on each broker
python -m chaos.run --minutes 2 --broker rabbitmq --seed 7
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pika

from chaos.faults import EXCHANGES, Faults
from chaos.plant import APPS, MAX_WORKERS, Plant, wait_until

SIZES = {0: 4, 1: 4, 500: 4, 20_000: 4, 300_000: 3, 2_000_000: 1}
"""Bytes of a file, and how often a file has so many."""
FILES_A_FOLDER = 12
FOLDER_SECONDS = 2.0
SPARE_BYTES = 512 * 1024 * 1024
"""Of the store's disk, beside what is published."""
SECONDS_TO_RECOVER = 240.0
"""Nothing is stored for so long: the rest is lost."""


class Published:
    """What was asked for: application -> key -> SHA-256; files are written and published in folders."""

    def __init__(self, plant: Plant, rng: random.Random) -> None:
        self._plant = plant
        self._rng = rng
        self._number = 0
        self._publishers: list[tuple[subprocess.Popen[bytes], tuple[str, ...], bool]] = []
        self.expected: dict[str, dict[str, str]] = {app: {} for app in APPS}
        self.unsure: dict[str, set[str]] = {app: set() for app in APPS}
        """Keys that were sent and perhaps never confirmed: they may be stored."""
        self.killed = 0

    @property
    def count(self) -> int:
        """Uploads asked for."""
        return sum(map(len, self.expected.values()))

    def _body(self) -> bytes:
        (size,) = self._rng.choices(list(SIZES), list(SIZES.values()))
        return self._rng.randbytes(size)

    def folder(self) -> None:
        """Write a folder and publish it; one publisher in four is killed and run again."""
        self._number += 1
        app = self._rng.choice(APPS)
        name = f"f{self._number:05d}"
        root = self._plant.sources / app / name
        root.mkdir(parents=True)
        for number in range(FILES_A_FOLDER):
            body = self._body()
            key = f"{name}/ü {number}.bin"
            (root / f"ü {number}.bin").write_bytes(body)
            self.expected[app][key] = hashlib.sha256(body).hexdigest()
        command = ("publish", "--app", app, "--prefix", f"{name}/", str(root))
        self._publishers.append((self._plant.start(*command), command, self._rng.random() < 0.25))

    def foreign(self) -> None:
        """Publish files as a client would that knows AMQP and nothing of Upswell."""
        self._number += 1
        app = self._rng.choice(APPS)
        root = self._plant.sources / app / f"g{self._number:05d}"
        root.mkdir(parents=True)
        with self._plant.channel() as channel:
            for number in range(FILES_A_FOLDER):
                body = self._body()
                path = root / f"{number}.bin"
                path.write_bytes(body)
                key = f"g{self._number:05d}/{number}.bin"
                request = {"type": "file", "uri": path.as_uri(), "app_id": app, "key": key}
                self.unsure[app].add(key)
                properties = pika.BasicProperties(delivery_mode=2)
                # Confirmed and not returned, or an error: then nothing was promised.
                channel.basic_publish(
                    "", f"{app}_upload", json.dumps(request).encode(), properties, mandatory=True
                )
                self.expected[app][key] = hashlib.sha256(body).hexdigest()

    def tend(self) -> None:
        """Kill the publishers that are to be killed; run again those that did not end well."""
        still: list[tuple[subprocess.Popen[bytes], tuple[str, ...], bool]] = []
        for publisher, command, doomed in self._publishers:
            if publisher.poll() is None and doomed:
                publisher.kill()
                publisher.wait()
                self.killed += 1
            if publisher.poll() is None:
                still.append((publisher, command, doomed))
            elif publisher.returncode != 0:
                still.append((self._plant.start(*command), command, False))
        self._publishers = still

    @property
    def under_way(self) -> bool:
        """Whether any publisher runs."""
        return bool(self._publishers)


def run(folder: Path, *, rabbitmq: bool, seconds: float, seed: int) -> dict[str, object]:
    """Break things for so long, let everything recover, and return what was counted."""
    rng = random.Random(seed)
    mean = sum(size * often for size, often in SIZES.items()) / sum(SIZES.values())
    published_bytes = 1.2 * mean * FILES_A_FOLDER * seconds / FOLDER_SECONDS
    with Plant(folder, rabbitmq=rabbitmq, store_bytes=SPARE_BYTES + int(published_bytes)) as plant:
        plant.keep_running()
        published, faults = Published(plant, random.Random(seed + 1)), Faults(plant, rng)
        errors: list[BaseException] = []
        over = threading.Event()

        def break_things() -> None:
            try:
                while not over.wait(rng.uniform(0.2, 1.5)):
                    faults.one()
            except BaseException as error:  # noqa: BLE001 - the run must fail, not this thread alone
                errors.append(error)

        # The queues are there before anyone but Upswell publishes: a client that finds none is refused.
        assert wait_until(lambda: _queues_are_there(plant), 60, [plant.keep_running]), (
            "no upload queue was made"
        )
        if plant.node is not None:
            plant.node.sync()
        breaker = threading.Thread(target=break_things, daemon=True)
        breaker.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not errors:
            if rabbitmq and rng.random() < 0.3:
                _foreign(published)
            else:
                published.folder()
            pause = time.monotonic() + FOLDER_SECONDS
            while time.monotonic() < pause:
                plant.keep_running()
                published.tend()
                time.sleep(0.2)
        over.set()
        breaker.join()
        if errors:
            raise errors[0]
        return _count(plant, published, faults)


def _foreign(published: Published) -> None:
    try:
        published.foreign()
    except (pika.exceptions.AMQPError, OSError):
        return  # the node is away: what was confirmed before counts


def _queues_are_there(plant: Plant) -> bool:
    if plant.node is None:
        return True
    try:
        with plant.channel() as channel:
            for app in APPS:
                channel.queue_declare(f"{app}_upload", passive=True)
            for exchange in EXCHANGES:
                channel.exchange_declare(exchange, passive=True)
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


def _count(plant: Plant, published: Published, faults: Faults) -> dict[str, object]:
    """Wait until all is stored, and count what is there, what is missing and what should not be."""
    beside = (plant.keep_running, published.tend)

    # All is hashed once here, and once at the end.
    waits = {app: dict(published.expected[app]) for app in APPS}

    def missing() -> int:
        for app in APPS:
            waits[app] = {key: waits[app][key] for key in plant.missing(app, waits[app])}
        return sum(map(len, waits.values()))

    def is_over() -> bool:
        return not (published.under_way or missing())

    began, before = time.monotonic(), published.count + 1
    while (left := missing()) < before and not wait_until(is_over, SECONDS_TO_RECOVER, beside):
        before = left
    recovered = time.monotonic() - began

    def dead_letters() -> list[dict[str, object]]:
        return [letter for app in APPS for letter in plant.dead(app)]

    wait_until(lambda: faults.hostile <= {letter["id"] for letter in dead_letters()}, 60, beside)
    dead = dead_letters()
    ids = {letter["id"] for letter in dead}
    workers_left = plant.stop(120)
    return {
        "uploads": published.count,
        "lost": sorted(key for app in APPS for key in plant.missing(app, published.expected[app])),
        "unexpected": sorted(
            key
            for app in APPS
            for key in plant.unexpected(app, published.expected[app].keys() | published.unsure[app])
        ),
        "hostile": len(faults.hostile),
        "not_dead": sorted(faults.hostile - ids),
        "dead_again": len(dead) - len(ids),
        "wrongly_dead": [letter for letter in dead if letter["id"] not in faults.hostile],
        "publishers_killed": published.killed,
        "most_workers": plant.most_workers,
        "workers_left": workers_left,
        "seconds_to_recover": round(recovered, 1),
        "faults": faults.made,
        "disk_filled": plant.mounted,
    }


def failures(counted: dict[str, object]) -> list[str]:
    """Return each promise that was not kept."""
    broken: list[str] = []
    for name in ("lost", "unexpected", "not_dead", "wrongly_dead", "workers_left"):
        found = counted[name]
        assert isinstance(found, list)
        if found:
            broken.append(f"{name}: {len(found)}, of which {found[:10]}")
    # Who dies or is cut off between a letter and the acknowledgement has another write the letter again.
    made, again = counted["faults"], counted["dead_again"]
    assert isinstance(made, dict)
    assert isinstance(again, int)
    if again > sum(made.values()):
        broken.append(f"{again} letters are there again")
    # Those that drain come on top, up to as many again.
    if int(str(counted["most_workers"])) > 2 * MAX_WORKERS * len(APPS):
        broken.append(f"{counted['most_workers']} workers ran, max_workers is {MAX_WORKERS} an application")
    return broken


def main() -> None:
    options = argparse.ArgumentParser(prog="chaos", description="Upswell under faults, counted from outside.")
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--broker", choices=("embedded", "rabbitmq", "both"), default="both")
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    given = options.parse_args()
    brokers = ("embedded", "rabbitmq") if given.broker == "both" else (given.broker,)
    status = 0
    for broker in brokers:
        folder = Path(tempfile.mkdtemp(prefix="upswell-chaos-"))
        print(f"{broker}: {given.minutes:g} minutes, seed {given.seed}, logs in {folder}/logs", flush=True)
        counted = run(folder, rabbitmq=broker == "rabbitmq", seconds=60 * given.minutes, seed=given.seed)
        for name, value in counted.items():
            print(f"  {name:20} {str(value)[:1000]}")
        broken = failures(counted)
        print(f"  {'FAILED: ' + '; '.join(broken) if broken else 'every promise was kept'}", flush=True)
        status = status or bool(broken)
        if not (broken or given.keep):
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
