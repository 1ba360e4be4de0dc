"""Half of five minutes as a test; UPSWELL_CHAOS_SEED draws other faults, by default each run its own."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from chaos.run import failures, run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SECONDS = 150.0


def assert_every_promise_is_kept(folder: Path, capsys: pytest.CaptureFixture[str], *, rabbitmq: bool) -> None:
    seed = int(os.environ.get("UPSWELL_CHAOS_SEED", str(int(time.time()))))
    counted = run(folder, rabbitmq=rabbitmq, seconds=SECONDS, seed=seed)
    with capsys.disabled():
        name = "RabbitMQ" if rabbitmq else "the embedded broker"
        print(f"\nchaos on {name}, seed {seed}: {counted['uploads']} uploads, {counted['faults']}")
    assert not failures(counted), f"seed {seed}, logs in {folder}/logs: {counted}"
