"""What an operator asks and orders, in a real terminal of 80 and 120 columns: each screen as it is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.system import System, wait_until
from support.terminal import ENTER, OF_COMMANDS, Shown, Terminal, holds_to, normalised

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VARYING = {
    **OF_COMMANDS,
    r"photos-[0-9a-f](\n?[0-9a-f]){9}": "photos-0123456789",
    r"\b[0-9a-f]{6}(?=\n)": "HASH",
    r"(?<!< )\b\d+(\.\d+)? ?(ms|s|min)\b": "SECONDS",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "YYYY-MM-DDTHH:MM:SSZ",
    r"by \S+@[\w.-]+": "by USER@HOST",
    r"a file,\s+\d+(\.\d+)?\s+[GT]iB\s+free": "a file, ROOM free",
    r"\"published_at\":[\d.\n]+": '"published_at":SECONDS',
}

HANDLER = """
def check(request):
    size = {}["size"]
"""


def screens(shown: list[Shown], varying: dict[str, str] | None = None) -> str:
    """Return what each line showed and its exit status; of gaps only whether they are there."""
    text = "\n".join(f"{one.text}\n[{one.status}]" for one in shown)
    text = re.sub(r"(?m)^\d of 2 replaced, .*\n", "", text)  # how many of these there are, time decides
    text = normalised(text, {**(varying or {}), **VARYING})
    return re.sub(r"(?<=\S) {2,}", "  ", re.sub(r" +,", ",", text))


def states(logged: Shown) -> Shown:
    """Return of what workers logged what they say of their state: one that was held up says that, too."""
    typed, *entries = re.split(r"(?m)^(?=photos-[0-9a-f]+ \| )", logged.text + "\n")
    kept = [entry for entry in entries if "event=worker.state" in entry.replace("\n", "")]
    return msgspec.structs.replace(logged, text="".join([typed, *kept]).removesuffix("\n"))


def answered(terminal: Terminal, line: str, answer: str) -> Shown:
    """Type a line, and an answer to its question."""
    terminal.type(line)
    terminal.wait_for(r"\[y/N\]")
    terminal.press(answer + ENTER)
    return terminal.finish()


@pytest.fixture
def system() -> Iterator[System]:
    settings = {"status_interval": 0.5, "decision_interval": 0.5, "max_workers": 4}
    with (
        TemporaryDirectory(prefix="u", dir="/tmp") as folder,  # the same length each time
        System(Path(folder), app_id="photos", **settings) as made,
    ):
        made.environment["PWD"] = folder
        yield made


@pytest.mark.parametrize("width", [80, 120])
def test_help_and_settings(system: System, width: int) -> None:
    with Terminal(system.environment, system.folder, width=width) as terminal:
        shown = [terminal.run(line) for line in ("upswell", "upswell up --help", "upswell dead --help")]
        holds_to(f"help-{width}", "\n".join(f"{one.text}\n[{one.status}]" for one in shown))
        shown = [terminal.run(line) for line in ("upswell config check", "upswell config check --help")]
        holds_to(f"config-{width}", screens(shown))


@pytest.mark.parametrize("width", [80, 120])
def test_dead_letters_and_what_is_deleted_from_a_queue(system: System, width: int) -> None:
    system.publish(system.make_requests(3, size=1000))
    (system.sources / "00001.bin").unlink()
    (system.folder / "mine.py").write_text(HANDLER)
    (system.folder / "bad.jsonl").write_text(
        json.dumps({"type": "file", "uri": "file:///etc/passwd", "id": "r1", "key": "passwd"})
    )
    worker = system.start("worker", "--app", "photos")
    wait_until(lambda: (system.stored_count(), system.dead_count()) == (2, 1), 60, system.logs)
    system.run("publish", "--app", "photos", "--requests", "bad.jsonl")
    wait_until(lambda: system.dead_count() == 2, 60, system.logs)
    worker.terminate()
    worker.wait()
    (system.sources / "00003.bin").write_bytes(bytes(3000))
    own = {"type": "file", "uri": f"file://{system.sources}/00003.bin", "id": "r3", "key": "three"}
    (system.folder / "own.jsonl").write_text(json.dumps(own))
    system.run("publish", "--app", "photos", "own.jsonl")
    worker = system.start("worker", "--app", "photos", "--handler", "mine:check")
    wait_until(lambda: system.dead_count() == 3, 60, system.logs)
    worker.terminate()
    worker.wait()
    with Terminal(system.environment, system.folder, width=width) as terminal:
        shown = [
            terminal.run("upswell dead list --app photos"),
            terminal.run("upswell dead show --app photos r1"),
            terminal.run("upswell dead show --app photos r3"),
            terminal.run("upswell dead show --app photos r4"),
            terminal.run("upswell dead retry --app photos"),
            terminal.run("upswell dead retry --app photos r3"),
            terminal.run("upswell dead retry --app photos --all"),
            terminal.run("upswell dead list --app photos"),
            answered(terminal, "upswell cancel r3", "n"),
            answered(terminal, "upswell cancel r3 r4", "y"),
            answered(terminal, "upswell purge photos", "y"),
            terminal.run("upswell purge photos"),
            terminal.run("upswell dead purge --app photos"),
        ]
        holds_to(f"dead-{width}", screens(shown))


@pytest.mark.parametrize("width", [80, 120])
def test_a_fleet_is_looked_at_and_ordered(system: System, width: int) -> None:
    with Terminal(system.environment, system.folder, width=width) as terminal:
        alone = [
            terminal.run(f"upswell {words}")
            for words in ("workers", "logs", "scale photos 2", "pause photos", "restart", "down")
        ]
        holds_to(f"operate-alone-{width}", screens(alone))
        system.start("up")
        wait_until(lambda: "ready" in system.run("workers").stdout, 60, system.logs)
        shown = [
            terminal.run_until(
                "upswell doctor",
                r"ok +monitor: is working\s+ok +scaler: is working(.|\n)*process answers, 1 worker",
            ),
            terminal.run("upswell scale photos 2 --for 1h"),
            terminal.run("upswell scale photos 9"),
            terminal.run("upswell scale photso 2"),
        ]
        rates = r"2 workers, 0 of 8 slots busy, \d(.|\n)*(ready +0 of 4 +\d(.|\n)*){2}"  # two statuses each
        shown += [
            terminal.run_until("upswell workers", rates),
            states(terminal.run("upswell logs --lines 100")),
            terminal.run("upswell restart"),
            terminal.run("upswell pause photos"),
        ]
        wait_until(lambda: not system.workers(), 60, system.logs)
        shown.append(terminal.run("upswell resume photos"))
        wait_until(lambda: "ready" in system.run("workers").stdout, 60, system.logs)
        shown += [terminal.run("upswell down"), terminal.run("upswell down")]
        # The progress is told again every while.
        progress = {r"draining: [^\n]*(\n *draining: [^\n]*)*": "draining: N workers with N uploads in hand"}
        holds_to(f"operate-{width}", screens(shown), progress)
