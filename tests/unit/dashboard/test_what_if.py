"""A question that cannot be asked ends with its error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.dashboard.rehearse import Question
from upswell.dashboard.what_if import WhatIfs

if TYPE_CHECKING:
    import pytest


def test_a_question_whose_process_cannot_be_started_fails_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python3")

    async def scenario() -> None:
        asked = await WhatIfs().ask(Question("journal.sqlite", "photos", 0.0, 1.0))
        async with asyncio.timeout(60):
            while asked.state == "running":  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)
        assert asked.state == "failed"
        assert asked.problem.startswith("the replay broke off: [Errno 2]")

    asyncio.run(scenario())
