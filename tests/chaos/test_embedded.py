"""Half of five minutes of chaos on the embedded broker: a file of its own runs beside the other broker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.checked import assert_every_promise_is_kept

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_promise_is_kept_under_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_every_promise_is_kept(tmp_path, capsys, rabbitmq=False)
