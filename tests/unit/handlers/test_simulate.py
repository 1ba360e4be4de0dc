from __future__ import annotations

import asyncio
import random

import pytest

from upswell.errors import SettingsError
from upswell.handlers.simulate import SimulateHandler, parse_range
from upswell.messages import UploadRequest


def test_the_time_is_drawn_from_the_whole_range(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def scenario() -> None:
        handler = SimulateHandler("30-60", random.Random(3))
        for _ in range(200):
            await handler(UploadRequest(app_id="e1", type="anything", uri="x"))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(scenario())
    assert 30 <= min(slept) < 32
    assert 58 < max(slept) <= 60


@pytest.mark.parametrize("text", ["60-30", "", "-1", "1-2-3", "a", "nan", "1-inf-"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"handlers\.simulate\.seconds must be"):
        parse_range(text)
