"""The first ten minutes, typed into a real terminal of 80 and 120 columns: each screen as a user reads it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until
from support.terminal import OF_COMMANDS, Shown, Terminal, holds_to, normalised

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VARYING = {
    **OF_COMMANDS,
    r"(?<=\d/\d )\d:\d\d:\d\d": "0:00:00",  # what has passed, behind the bar
    r"\b\d+(\.\d+)? ?(ms|s|min|m|h)\b": "SECONDS",
    r"\b[0-9a-f]{10}\b": "0123456789",
    r"\b[0-9a-f]{6}\b": "HASH",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "YYYY-MM-DDTHH:MM:SSZ",
}


def screens(shown: list[Shown]) -> str:
    """Return what each line showed and its exit status; of gaps only whether they are there."""
    text = normalised("\n".join(f"{one.text}\n[{one.status}]" for one in shown), VARYING)
    return re.sub(r" {2,}", "  ", re.sub(r" +,", ",", text))


@contextlib.contextmanager
def new_system() -> Iterator[System]:
    """Two pictures to publish, and nothing that runs."""
    with (
        TemporaryDirectory(prefix="u") as folder,  # the same length each time
        System(Path(folder), app_id="photos", status_interval=0.5) as made,
    ):
        made.environment["UPSWELL_APPS"] = "photos"
        (made.sources / "cat.jpg").write_bytes(bytes(2000))
        (made.sources / "dog.jpg").write_bytes(bytes(3000))
        yield made


@pytest.fixture
def system() -> Iterator[System]:
    with new_system() as made:
        yield made


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_new_user_types_first_is_answered_in_plain_words(system: System, width: int) -> None:
    with Terminal(system.environment, system.sources, width=width) as terminal:
        lines = [
            "upswell statuss",
            "upswell config",
            "UPSWELL_FLEET=k8s upswell config check",
            "UPSWELL_DESTINATION=s3:/bucket upswell config check",
            "AMQPURL='amqp://me:se/cret@localhost/' upswell status",
            "upswell publish --app photos nodir",
            "upswell publish --app photso cat.jpg",
            "UPSWELL_SOURCE_ROOTS= upswell publish --app photos cat.jpg",
            "upswell explain --app photos",
        ]
        shown = [terminal.run(line) for line in lines]
        holds_to(f"first-words-{width}", screens(shown))


def test_files_are_published_followed_and_found_dead_with_their_reason() -> None:
    """At 120 columns alone: at 80 some lines are broken where the length of a time decides."""
    shown: list[Shown] = []
    for _ in range(3):
        with new_system() as system:
            shown = first_files(system)
        if shown:
            break
    assert shown, "three times the publisher had to look for what the worker stored"
    holds_to("first-files-120", screens(shown))


def first_files(system: System) -> list[Shown]:
    """Return what is shown; nothing where the worker was held up, and the publisher found what it stored."""
    (system.sources / "hostile.jsonl").write_text('{"type": "file", "uri": "file:///etc/hostname"}\n')
    system.start("worker", "--app", "photos")
    wait_until(lambda: "photos-" in system.run("workers").stdout, 60, system.logs)
    with Terminal(system.environment, system.sources, width=120) as terminal:
        shown = [terminal.run("upswell publish --app photos --wait cat.jpg dog.jpg")]
        if "found in the destination" in shown[0].text:
            return []
        lines = [
            "upswell publish --app photos --wait cat.jpg dog.jpg",
            "upswell publish --app photos --wait --requests hostile.jsonl",
            "upswell find cat.jpg",
        ]
        shown += [terminal.run(line) for line in lines]
        rate = r"1 worker, 0 of 4 slots busy, \d(.|\n)*ready +0 of 4 +\d"  # it takes two statuses
        shown.append(terminal.run_until("upswell workers", rate))
        shown.append(terminal.run("upswell doctor"))
    return shown
