"""The web applications of examples/, under load: what they answered with 202 is stored, byte for byte."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {
    "flask": ["flask", "--app", "app", "run", "--port", "0"],
    "fastapi": ["uvicorn", "app:app", "--port", "0"],
}
ADDRESS = re.compile(r"[Rr]unning on (http://127\.0\.0\.1:\d+)")
LONG = 90.0

_numbers = itertools.count(int(time.time() * 1000))


@pytest.fixture(params=[pytest.param("rabbitmq", marks=pytest.mark.rabbitmq), "embedded"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path / "s", broker_url=url, app_id=f"web{next(_numbers)}") as running:
        yield running


def start(system: System, framework: str) -> str:
    """Start the example's server as its README does; return its address."""
    log = system.folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[framework]],
            cwd=EXAMPLES / framework,
            env={**system.environment, "APP": system.app_id, "SPOOL": str(system.sources)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    system.commands.append(server)
    wait_until(lambda: ADDRESS.search(log.read_text()) is not None, LONG, log.read_text)
    found = ADDRESS.search(log.read_text())
    assert found is not None
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("framework", COMMANDS)
def test_two_hundred_files_from_twenty_threads_are_all_stored(system: System, framework: str) -> None:
    system.start("worker", "--app", system.app_id)
    address = start(system, framework)

    def upload(number: int) -> None:
        body = random.Random(number).randbytes(20_000)
        with urlopen(f"{address}/uploads?name=a{number}.JPG", data=body, timeout=LONG) as answer:
            assert answer.status == 202
            upload_id = json.load(answer)["id"]
        state = {"state": "under way"}
        while state["state"] == "under way":
            with urlopen(f"{address}/uploads/{upload_id}?wait=30", timeout=LONG) as answer:
                state = json.load(answer)
        assert (state["state"], state["bytes"]) == ("stored", 20_000)
        stored = Path(unquote(urlsplit(str(state["url"])).path))
        assert stored.read_bytes() == body
        assert stored.suffix == ".JPG"

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(upload, range(200)))
    assert len([path for path in system.store.iterdir() if path.is_file()]) == 200
    assert list(system.sources.iterdir()) == [], "what is stored needs no copy"

    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{address}/uploads/unknown", timeout=LONG)
    log = (system.folder / "server.log").read_text()
    assert "Traceback" not in log
    assert "event=" not in log, "the log of the application is its own"
    server = system.commands[-1]
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=LONG) in {0, -signal.SIGINT, 1, 130}
