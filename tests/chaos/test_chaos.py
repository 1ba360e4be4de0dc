"""Five minutes of chaos in CI, on both brokers; `make chaos` takes an hour."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from chaos.run import failures, run
from support import rabbitmq_node

SECONDS = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("broker", ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_every_promise_is_kept_under_faults(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if broker == "rabbitmq" and (reason := rabbitmq_node.missing()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    seed = int(os.environ.get("UPSWELL_CHAOS_SEED", str(int(time.time()))))
    counted = run(tmp_path, rabbitmq=broker == "rabbitmq", seconds=SECONDS, seed=seed)
    with capsys.disabled():
        print(f"\nchaos on {broker}, seed {seed}: {counted['uploads']} uploads, {counted['faults']}")
    assert not failures(counted), f"seed {seed}, logs in {tmp_path}/logs: {counted}"


def test_the_harness_imports_nothing_of_what_it_tests() -> None:
    here = Path(__file__).parent
    modules = [
        *here.glob("*.py"),
        here.parent / "support/rabbitmq_node.py",
        here.parent / "support/tcp_proxy.py",
    ]
    modules.append(here.parent / "support/server_process.py")
    for module in modules:
        assert not re.search(r"^\s*(from|import) upswell\b", module.read_text(), re.MULTILINE), module
