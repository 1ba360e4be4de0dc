"""docs/deploy/ha.md, its blocks run as a reader would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.system import System

if TYPE_CHECKING:
    from pathlib import Path as FolderPath

PAGE = Path(__file__).parents[2] / "docs/deploy/ha.md"


def block(section: str) -> str:
    """Return the first block of shell lines of a section of the page."""
    return PAGE.read_text().split(f"# {section}\n")[1].split("```sh\n")[1].split("```")[0]


@pytest.mark.slow
def test_the_block_kills_monitor_and_scaler_and_the_others_finish(tmp_path: FolderPath) -> None:
    with System(tmp_path / "system", app_id="photos") as system:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = subprocess.Popen(
            ["bash", "-e", "-c", block("Try it")],
            cwd=system.folder,
            env={**system.environment, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said, errors = shell.communicate(timeout=280)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
        assert shell.returncode == 0, f"{said}{errors}{system.logs()}"
        assert "ok  monitor: is working; 1 more waits to take over" in said
        assert "ok  scaler: is working; 1 more waits to take over" in said
        assert "down: all workers have finished, scaler and monitor stopped" in said
        assert len(list((system.folder / "stored").rglob("*.jpg"))) == 20
