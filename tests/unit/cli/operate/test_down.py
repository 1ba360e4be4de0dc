"""`upswell down` where a part ends with the order in its hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell import cli
from upswell.broker.orders import Orders
from upswell.errors import NoAnswerError, NobodyListensError
from upswell.messages import OperatorAnswer, OperatorOrder

if TYPE_CHECKING:
    from pathlib import Path

DONE, GONE, SILENT = OperatorAnswer(accepted=True, text=""), NobodyListensError("none"), NoAnswerError("none")
Answers = list[OperatorAnswer | Exception]


@pytest.mark.parametrize(
    ("scaler", "monitor", "status", "text"),
    [
        ([DONE, GONE], [GONE], 0, "all workers have finished, scaler stopped"),
        ([DONE, GONE], [SILENT, GONE], 0, "all workers have finished, scaler stopped"),
        ([DONE, GONE], [SILENT, DONE], 0, "all workers have finished, scaler and monitor stopped"),
        ([DONE, GONE], [SILENT, SILENT], 1, "error: none"),
        ([GONE], [SILENT, SILENT], 1, "error: none"),
        ([SILENT, GONE], [GONE], 0, "no scaler and no monitor runs"),
        ([SILENT, DONE, GONE], [GONE], 0, "all workers have finished, scaler stopped"),
        ([SILENT, SILENT], [], 1, "error: none"),
    ],
)
def test_a_part_that_ends_with_the_order_in_its_hands_is_asked_once_more(  # noqa: PLR0917 - a table
    scaler: Answers,
    monitor: Answers,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in `upswell up`: its queue is there for a moment longer than it reads it."""
    answers = {"scaler": iter(scaler), "monitor": iter(monitor)}

    async def give(_orders: Orders, part: str, _order: OperatorOrder) -> OperatorAnswer:
        answer = next(answers[part])
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Orders, "give", give)
    monkeypatch.setattr("upswell.cli.operate.down.POLL_SECONDS", 0.01)
    monkeypatch.setenv("UPSWELL_STATE_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        cli.main(["down", "--set", "status_interval=0.05"])
    told = "".join(capsys.readouterr())
    assert (left.value.code, text in told) == (status, True), told
