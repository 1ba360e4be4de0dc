# ruff: noqa: D102 - the stand-in's methods do what their names say
"""The secrets of a Swarm's workers, made anew by several starts at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from upswell.fleets.swarm_secrets import SwarmSecrets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class StandInEngine:
    """Keeps secrets; each answer takes a turn of the loop."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.docker = SimpleNamespace(secrets=self)

    async def ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        await asyncio.sleep(0)
        return await question(self.docker)

    async def list(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        return [{"ID": f"id-{name}", "Spec": {"Name": name}} for name in self.there]

    async def create(self, *, name: str, data: str, labels: dict[str, str]) -> dict[str, str]:
        self.there.append(name)
        return {"ID": f"id-{name}"}


def test_starts_that_were_refused_together_each_get_all_their_secrets() -> None:
    engine = StandInEngine()
    secrets = SwarmSecrets(engine, "here")  # type: ignore[arg-type] - a stand-in
    needed = {"AMQPURL": "amqp://x", "AWS_SECRET_ACCESS_KEY": "y"}

    async def start(turns: int) -> dict[str, tuple[str, str]]:
        for _ in range(turns):
            await asyncio.sleep(0)
        await secrets.forget()
        return await secrets.references(needed)

    async def scenario() -> list[dict[str, tuple[str, str]]]:
        return await asyncio.gather(*(start(turns) for turns in range(5)))

    assert all(found.keys() == needed.keys() for found in asyncio.run(scenario()))
    assert len(engine.there) == len(needed)
