"""A question that cannot be asked ends with its error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.dashboard.rehearse import Question
from upswell.dashboard.what_if import WhatIf, WhatIfs

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


def test_of_questions_that_come_at_once_one_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people look at two pages; each answer may take a processor for minutes."""

    async def runs(_: WhatIf, question: Question) -> None:
        del question
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.01)  # its process takes a moment to end

    monkeypatch.setattr(WhatIf, "_run", runs)

    async def scenario() -> None:
        what_ifs = WhatIfs()
        question = Question("journal.sqlite", "photos", 0.0, 1.0)
        first = await what_ifs.ask(question)
        await asyncio.sleep(0)
        asked = [first, *await asyncio.gather(*(what_ifs.ask(question) for _ in range(3)))]
        assert [one.state for one in asked] == ["cancelled", "cancelled", "cancelled", "running"]
        await asked[-1].cancel()

    asyncio.run(scenario())
