"""Half of five minutes of chaos on RabbitMQ, which is killed and restarted too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from chaos.checked import assert_every_promise_is_kept
from support import rabbitmq_node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(1800)
def test_every_promise_is_kept_under_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if reason := rabbitmq_node.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    assert_every_promise_is_kept(tmp_path, capsys, rabbitmq=True)
