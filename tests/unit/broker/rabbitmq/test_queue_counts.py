# ruff: noqa: D102 - what the double does, its class says
"""Ready messages and consumers, asked of a server that a test plays, on a clock that it sets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from upswell.broker.rabbitmq import queue_counts


class Server:
    """Answers with the next counts after the next seconds; anything else takes the next of `ways`."""

    def __init__(self, answers: list[tuple[int, int, float]], ways: list[float]) -> None:
        self.now = 0.0
        self.asked = list[str]()
        self._answers = list(answers)
        self._ways = list(ways)

    async def call(self, method: str, **_arguments: Any) -> Any:
        self.asked.append(method)
        if method != "queue_declare":
            self.now += self._ways.pop(0)
            return None
        ready, consumers, seconds = self._answers.pop(0)
        self.now += seconds
        return SimpleNamespace(method=SimpleNamespace(message_count=ready, consumer_count=consumers))


@pytest.mark.parametrize(
    ("answers", "ways", "wanted"),
    [
        ([(0, 0, 0.001)], [], (0, 0)),  # empty, and said at once
        ([(7, 1, 0.3)], [], (7, 1)),  # late, but no excuse
        ([(0, 0, 0.251), (0, 0, 1.0), (3, 1, 0.1)], [0.001] * 2, (3, 1)),  # the leader was silent
        ([(0, 0, 0.251), (3, 1, 0.1)], [0.2, 0.001], (3, 1)),  # and the way was slow, once
        ([(0, 0, 0.6)], [0.5] * 3, (0, 0)),  # far away, and empty
        ([(0, 0, 0.751), (3, 0, 0.5)], [0.5], (3, 0)),  # far away, and the leader was silent
        ([(0, 0, 9.0), (0, 0, 1.0), (0, 0, 1.1)], [0.001] * 2, (0, 0)),  # silent for too long
    ],
)
def test_zeros_that_come_late_are_asked_for_again(
    answers: list[tuple[int, int, float]],
    ways: list[float],
    wanted: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(answers, ways)
    monkeypatch.setattr(queue_counts, "time", SimpleNamespace(monotonic=lambda: server.now))
    assert asyncio.run(queue_counts.queue_counts(server.call, "q")) == wanted
    assert len(server.asked) == len(answers) + len(ways)  # and no more
