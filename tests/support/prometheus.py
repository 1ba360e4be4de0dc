"""A real Prometheus that scrapes what it is given, and is asked; Debian's package has it and promtool."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.server_process import free_port, program, running
from support.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path


def missing() -> str | None:
    """Return what is missing here, if anything."""
    if program("prometheus") and program("promtool"):
        return None
    return "prometheus and promtool are not installed"


class Prometheus:
    """A server that runs."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives at this moment: series, each with `metric` and `value`."""
        found = self.get("/api/v1/query", query=expression)
        return found["result"] if found["resultType"] == "vector" else [found]

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; an error of Prometheus's is raised with its words."""
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def scraping(folder: Path, targets: Mapping[str, int], rules: Sequence[Path] = ()) -> Generator[Prometheus]:
    """Run a Prometheus that scrapes, every second, the job -> port on this machine."""
    folder.mkdir(parents=True)
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for job, port in targets.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    command = [
        program("prometheus") or "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    server = Prometheus(port)
    log = folder / "prometheus.log"
    with running(command, url=f"{server.url}/-/ready", log=log):
        wait_until(lambda: _is_ready(server.url), 60, log.read_text)
        yield server


def _is_ready(url: str) -> bool:
    """Return whether it answers queries: it listens before it does."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=60) as answer:
            return answer.status == 200
    except OSError:
        return False
