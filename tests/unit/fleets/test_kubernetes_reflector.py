# ruff: noqa: D102 - a double of the API; the reflector says what it asks
"""The reflector against an API that ends watches, forgets versions and falls silent."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from upswell.errors import FleetError
from upswell.fleets.kubernetes.api import WatchEvent
from upswell.fleets.kubernetes.cache import PodCache
from upswell.fleets.kubernetes.pods import SeenPod
from upswell.fleets.kubernetes.reflector import LONGEST_PAUSE, Reflector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

GONE = FleetError("too old resource version")


def pod(name: str, **more: object) -> SeenPod:
    return SeenPod(name=name, uid=name, worker_id=name, app_id="a1", requested_at=0.0, **more)  # type: ignore[arg-type] - flags


class ScriptedApi:
    """Answers each list and each watch with the next thing of its script; then a watch is silent."""

    def __init__(self) -> None:
        self.lists: list[list[SeenPod] | Exception] = []
        self.watches: list[list[WatchEvent | FleetError]] = []
        self.versions: list[str] = []
        self.listed = 0

    async def list_pods(self, labels: Mapping[str, str]) -> tuple[list[SeenPod], str]:
        assert labels == {"upswell/installation": "i"}
        self.listed += 1
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, str(self.listed)

    @asynccontextmanager
    async def watch_pods(
        self, labels: Mapping[str, str], version: str, *, seconds: float
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        self.versions.append(version)
        yield self._events(self.watches.pop(0) if self.watches else None)

    async def _events(self, script: list[WatchEvent | FleetError] | None) -> AsyncIterator[WatchEvent]:
        for event in script or []:
            if isinstance(event, FleetError):
                raise event
            yield event
        if script is None:
            await asyncio.get_running_loop().create_future()


class Followed:
    """A reflector that runs, and what it has made of its cache; it never pauses for real."""

    def __init__(
        self, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, watch_seconds: float = 3600.0
    ) -> None:
        self.cache = PodCache()
        self.pauses: list[float] = []
        self.changes = 0
        self.reflector = Reflector(
            api, {"upswell/installation": "i"}, self.cache, self._changed, watch_seconds=watch_seconds
        )
        sleep = asyncio.sleep

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            await sleep(0)

        monkeypatch.setattr("upswell.fleets.kubernetes.reflector.asyncio.sleep", pause)
        self._yield = sleep

    def _changed(self) -> None:
        self.changes += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await self._yield(0)
        raise AssertionError("it never came")

    def names(self) -> dict[str, str]:
        return {worker.worker_id: worker.state for worker in self.cache.workers(0.0, patience=1.0)}


def follow(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, condition: Callable[[Followed], bool], **options: float
) -> Followed:
    async def scenario() -> Followed:
        followed = Followed(api, monkeypatch, **options)
        running = asyncio.create_task(followed.reflector.run())
        try:
            await followed.until(lambda: condition(followed))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return followed

    return asyncio.run(scenario())


def test_events_change_what_a_list_has_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1"), pod("w2")]]
    deleted = pod("w2", ended=True, exit_code=0, leaving=True)
    api.watches = [[WatchEvent("ADDED", pod("w3")), WatchEvent("DELETED", deleted)]]
    followed = follow(api, monkeypatch, lambda f: f.changes >= 3)
    assert followed.names() == {"w1": "running", "w2": "exited", "w3": "running"}
    assert api.versions[0] == "1"


def test_after_a_410_all_is_listed_again_and_what_was_deleted_meanwhile_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1"), pod("w2")], [pod("w2")]]
    api.watches = [[WatchEvent("MODIFIED", pod("w1")), GONE], [GONE]]
    followed = follow(api, monkeypatch, lambda f: api.listed == 2 and len(api.versions) == 3)
    assert followed.names() == {"w1": "exited", "w2": "running"}
    assert api.versions == ["1", "1", "2"]  # the second to read how w1 ended, in vain


def test_how_a_pod_ended_between_two_watches_is_read_up(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1"), pod("w2")], [pod("w2")]]
    ended = pod("w1", ended=True, exit_code=0, leaving=True)
    api.watches = [[], [WatchEvent("MODIFIED", pod("w1", leaving=True)), WatchEvent("DELETED", ended)]]
    followed = follow(api, monkeypatch, lambda f: api.listed == 2 and len(api.versions) == 3)
    codes = {worker.worker_id: worker.exit_code for worker in followed.cache.workers(0.0, patience=1.0)}
    assert followed.names() == {"w1": "exited", "w2": "running"}
    assert codes == {"w1": 0, "w2": None}
    assert api.versions == ["1", "1", "2"]


def test_a_watch_that_never_works_does_not_become_a_busy_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1")]]
    api.watches = [[GONE] for _ in range(12)]
    followed = follow(api, monkeypatch, lambda f: api.listed == 12)
    assert followed.pauses[0] >= 0.35
    assert followed.pauses[-1] > LONGEST_PAUSE / 2
    assert followed.names() == {"w1": "running"}  # what a list shows is true, watch or not


def test_a_proxy_that_ends_each_watch_at_once_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1")]]
    api.watches = [[] for _ in range(12)]
    followed = follow(api, monkeypatch, lambda f: api.listed == 12)
    assert followed.pauses[-1] > LONGEST_PAUSE / 2


def test_a_watch_that_worked_is_followed_by_a_list_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi()
    api.lists = [[pod("w1")]]
    api.watches = [[WatchEvent("MODIFIED", pod("w1"))] for _ in range(12)]
    followed = follow(api, monkeypatch, lambda f: api.listed == 12)
    assert max(followed.pauses) < 1.0


def test_silence_is_not_trusted_beyond_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open connection says nothing for ever: our own deadline ends the watch."""
    api = ScriptedApi()
    api.lists = [[pod("w1")], []]
    followed = follow(api, monkeypatch, lambda f: api.listed >= 3, watch_seconds=0.0)
    assert followed.names() == {"w1": "exited"}


def test_while_the_api_is_away_it_is_unknown_which_workers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        api = ScriptedApi()
        api.lists = [FleetError("connection refused"), FleetError("connection refused"), [pod("w1")]]
        followed = Followed(api, monkeypatch)
        running = asyncio.create_task(followed.reflector.run())
        with pytest.raises(FleetError, match="connection refused"):
            await followed.reflector.known()
        await followed.until(lambda: api.listed == 3)
        await followed.reflector.known()
        assert followed.names() == {"w1": "running"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_an_answer_that_is_not_understood_makes_the_workers_unknown_until_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        api = ScriptedApi()
        api.lists = [TypeError("a pod without a name"), [pod("w1")]]
        followed = Followed(api, monkeypatch)
        running = asyncio.create_task(followed.reflector.run())
        with pytest.raises(FleetError, match="is not understood: TypeError"):
            await followed.reflector.known()
        await followed.until(lambda: api.listed == 2)
        await followed.reflector.known()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_an_api_that_goes_after_a_list_makes_the_workers_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        api = ScriptedApi()
        api.lists = [[pod("w1")], FleetError("no route")]
        api.watches = [[GONE]]
        followed = Followed(api, monkeypatch)
        running = asyncio.create_task(followed.reflector.run())
        await followed.reflector.known()
        await followed.until(lambda: api.listed >= 2)
        with pytest.raises(FleetError, match="no route"):
            await followed.reflector.known()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
