from __future__ import annotations

import pytest

from upswell.cli.look.explain import seen
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
