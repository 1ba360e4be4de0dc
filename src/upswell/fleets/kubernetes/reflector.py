"""Keeps the cache of pods true: list, replace all, watch from there; after a while and at any end anew.

In: an API. Out: the cache, and a call at each change. It knows no worker.

No watch is trusted for long. One may end with 410, freeze with a half-dead connection, or skip what was
deleted while nobody watched; only a list tells what is gone. So each watch has a deadline of our own, after
which everything is listed again.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from upswell.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upswell.fleets.kubernetes.api import KubernetesApi
    from upswell.fleets.kubernetes.cache import PodCache

WATCH_SECONDS = 30.0
"""How old the cache can get where a connection is half dead."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
"""Between two lists: short after a watch that worked, doubled with each failure."""

READ_UP_SECONDS = 2.0
"""How long a list may wait for the ends of those that it no longer has."""


class Reflector:
    """Keeps `cache` true to the pods with these labels.

    `on_change` is called after each change, and when it becomes unknown or known what there is;
    `watch_seconds` is the longest time between two lists.
    """

    def __init__(
        self,
        api: KubernetesApi,
        labels: Mapping[str, str],
        cache: PodCache,
        on_change: Callable[[], None],
        *,
        watch_seconds: float,
    ) -> None:
        self._api = api
        self._labels = labels
        self._cache = cache
        self._on_change = on_change
        self._watch_seconds = watch_seconds
        self._answered = asyncio.Event()
        self._error: FleetError | None = None

    async def known(self) -> None:
        """Return when the cache is true.

        Raises:
            FleetError: it is not, because the last list failed.
        """
        await self._answered.wait()
        if self._error is not None:
            raise FleetError(str(self._error)) from self._error

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        failures = 0
        version = None
        while True:
            try:
                version = await self._list(version)
                failures += 1  # until something is heard on the watch, it may be as good as none
                outcome = await self._watch(version)
                if outcome != "nothing":
                    failures = 0
                if outcome == "whole":
                    continue  # at once: the less happens between two watches, the less there is to read up
            except FleetError:
                failures += self._error is not None
            except Exception as error:  # noqa: BLE001 - whatever an answer was, the next may be better
                failures += 1
                self._unknown(FleetError(f"an answer of the API server is not understood: {error!r}"))
            pause = min(FIRST_PAUSE * 2.0 ** min(max(failures - 1, 0), 20), LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))  # noqa: S311 - spreads scalers, is no secret

    async def _list(self, last_version: str | None) -> str:
        try:
            self._cache.begin_list()
            pods, version = await self._api.list_pods(self._labels)
        except FleetError as error:
            self._unknown(error)
            raise
        if last_version is not None and (vanished := self._cache.unseen_ends(pods)):
            await self._read_up(last_version, vanished)
        self._cache.put_list(pods)
        self._error = None
        self._answered.set()
        self._on_change()
        return version

    async def _read_up(self, version: str, vanished: set[str]) -> None:
        """Read how pods ended that are gone: nobody saw it between two watches, and a list does not tell."""
        seconds = min(READ_UP_SECONDS, self._watch_seconds)
        with suppress(FleetError, TimeoutError):
            async with (
                asyncio.timeout(seconds),
                self._api.watch_pods(self._labels, version, seconds=seconds) as events,
            ):
                async for event in events:
                    if event.kind == "DELETED" and event.pod.uid in vanished:
                        self._cache.delete(event.pod)
                        vanished.remove(event.pod.uid)
                        if not vanished:
                            return

    def _unknown(self, error: FleetError) -> None:
        """Take note that it is not known what there is."""
        self._error = error
        self._answered.set()
        self._on_change()

    async def _watch(self, version: str) -> Literal["whole", "heard", "nothing"]:
        """Follow the changes since a version; return whether it lasted its time, or was of use at least."""
        heard = False
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(self._watch_seconds),
                self._api.watch_pods(self._labels, version, seconds=self._watch_seconds + 5) as events,
            ):
                async for event in events:
                    heard = True
                    if event.kind == "DELETED":
                        self._cache.delete(event.pod)
                    elif not self._cache.put(event.pod):
                        continue
                    self._on_change()
                return "heard" if heard else "nothing"  # the server ended it, before its time
        return "whole"
