from __future__ import annotations

import pytest

from upswell.cli.look.explain import crash_lines, seen
from upswell.messages import WorkerCrash
from upswell.testing.snapshots import ordinary


@pytest.mark.parametrize(
    ("known", "unheard", "words"),
    [(3, 0, "; 3 in flight"), (0, 8, "; 0 to 8 in flight"), (None, 0, "; - in flight")],
)
def test_uploads_that_may_be_in_flight_unseen_are_not_called_zero(
    known: int | None, unheard: int, words: str
) -> None:
    lines = seen(ordinary(messages_unacknowledged=known, unheard_in_flight=unheard))
    assert any(line.endswith(words) for line in lines), lines


def test_a_crash_is_told_with_its_code_and_its_last_lines_made_safe() -> None:
    crash = WorkerCrash(
        app_id="e1", worker_id="w1", at=1000.0, exit_code=137, last_lines="out of memory\n\x1b[31mred"
    )
    head, *lines = crash_lines([crash])
    assert head.startswith("worker w1 crashed ")
    assert head.endswith(", exit code 137:")
    assert lines == ["  out of memory", r"  \u001b[31mred"]
