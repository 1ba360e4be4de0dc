"""The main job: `upswell demo`, started as a user does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = {
    "published",
    "stored",
    "verified",
    "lost",
    "duplicates",
    "attainment",
    "p95_response_time",
    "peak_workers",
    "final_workers",
    "worker_seconds",
    "decisions",
}


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UPSWELL_", "AMQPURL"))}
    yield {**inherited, "TMPDIR": str(tmp_path), **({"AMQPURL": url} if url else {})}
    wait_until(lambda: not left_running(tmp_path), 60, lambda: str(left_running(tmp_path)))
    assert not list(tmp_path.glob("upswell-demo-*")), "the demo must take its folder away"


def left_running(folder: Path) -> list[str]:
    """Return the processes whose environment names the demo's folder."""
    mark = f"UPSWELL_STATE_DIR={folder}".encode()
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "upswell", "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_scales_out_and_back_and_proves_every_object(environment: dict[str, str]) -> None:
    # How near to 1 the attainment comes, and how soon it is calm, depends on who else uses this machine: a
    # broker that is held up in the burst costs half of it. That much is to be reached in one of three runs.
    summaries: list[dict[str, Any]] = []

    def is_calm_and_quick() -> bool:
        summaries.append(proved(environment))
        return summaries[-1]["final_workers"] == 1 and summaries[-1]["attainment"] > 0.5

    assert any(is_calm_and_quick() for _ in range(3)), summaries


def proved(environment: dict[str, str]) -> dict[str, Any]:
    """Run the demo; return its summary, in which all holds that every run must reach."""
    done = demo(environment, "--json", "--seconds", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert set(summary) == FIELDS
    assert summary["published"] == summary["stored"] == summary["verified"] > 150
    assert summary["lost"] == 0
    assert summary["peak_workers"] >= 3
    assert summary["decisions"] >= 2
    assert summary["worker_seconds"] > 30
    assert "scale out 1 → " in done.stderr
    # Where the machine is held up, the demo may end before it scales in.
    assert summary["final_workers"] > 1 or "scale in " in done.stderr
    assert "Traceback" not in done.stderr
    return summary


@pytest.mark.slow
def test_demo_takes_the_users_own_files(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    for number in range(10):
        (folder / "deep" / f"my file {number} ü.bin").write_bytes(os.urandom(5000 * number))
    (folder / "link.bin").symlink_to("/etc/passwd")
    done = demo(environment, "--files", str(folder), "--seconds", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified: " in done.stdout
    assert " 0 lost" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_demo_leaves_nothing_behind_at_ctrl_c(environment: dict[str, str], presses: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "upswell", "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "quiet" in line:
                break
        time.sleep(4)
        for _ in range(presses):
            running.send_signal(signal.SIGINT)
            time.sleep(0.1)
        rest = running.stdout.read()
        assert running.wait(60) == 130
    assert "error: interrupted" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("content", [None, []])
def test_demo_needs_a_folder_with_files(tmp_path: Path, content: list[str] | None) -> None:
    folder = tmp_path / "files"
    if content is not None:
        folder.mkdir()
    done = demo(dict(os.environ), "--files", str(folder))
    assert done.returncode == 1
    assert done.stderr == f"error: --files must be a folder with at least one file, got {folder}\n"
