"""The Swarm secrets of one installation: one for each variable and value, shared by all workers that need it.

In: a worker's secret variables. Out: references. A secret's name holds a keyed hash of its value, never the
value; those that no worker refers to any more are removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from upswell.fleets.engine import CONFLICT, NOT_THERE, EngineRefusalError, none_if
from upswell.fleets.worker_labels import INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from upswell.fleets.engine import Engine

_CONFLICTS = (400, NOT_THERE, CONFLICT)
"""Answers where a secret is there already, in use, or gone."""


class SwarmSecrets:
    """Makes secrets as they are needed, and removes those that are not."""

    def __init__(self, engine: Engine, installation: str) -> None:
        self._engine = engine
        self._installation = installation
        self._known: dict[str, str] = {}
        self._needed: set[str] = set()
        self._asking = asyncio.Lock()  # a hundred starts make their secrets once

    async def references(self, secrets: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Return (id, name) of each variable's secret; those that miss are made."""
        names = {variable: self._name(variable, value) for variable, value in secrets.items()}
        async with self._asking:
            self._needed |= set(names.values())
            if not self._needed <= self._known.keys():
                await self._list()
            for variable, name in names.items():
                if name not in self._known:
                    await self._make(name, secrets[variable])
            return {variable: (self._known[name], name) for variable, name in names.items()}

    async def prune(self, in_use: Collection[str]) -> None:
        """Remove our secrets that are not in use, by their names, and that no start is about to use.

        A secret that a start of ours asked for counts as in use until the next call.
        """
        async with self._asking:
            needed, self._needed = self._needed, set()
            for name, identifier in list((await self._list()).items()):
                if name not in in_use and name not in needed:
                    self._known.pop(name, None)
                    await self._delete(identifier)

    async def forget(self) -> None:
        """Ask anew which there are: one was refused."""
        async with self._asking:  # a start that is making its own finds them at its end
            self._known.clear()

    async def _list(self) -> dict[str, str]:
        filters = {"label": f"{INSTALLATION}={self._installation}"}
        found: list[dict[str, Any]] = await self._engine.ask(
            lambda docker: docker.secrets.list(filters=filters)
        )
        self._known = {secret["Spec"]["Name"]: secret["ID"] for secret in found}
        return self._known

    async def _delete(self, identifier: str) -> None:
        with none_if(*_CONFLICTS):
            await self._engine.ask(lambda docker: docker.secrets.delete(identifier))

    async def _make(self, name: str, value: str) -> None:
        labels = {INSTALLATION: self._installation}
        try:
            made = await self._engine.ask(
                lambda docker: docker.secrets.create(name=name, data=value, labels=labels)
            )
            self._known[name] = made["ID"]
        except EngineRefusalError as error:
            if error.status not in _CONFLICTS:
                raise
            if name not in await self._list():
                raise

    def _name(self, variable: str, value: str) -> str:
        keyed = hmac.new(self._installation.encode(), f"{variable}={value}".encode(), hashlib.sha256)
        return f"upswell-{keyed.hexdigest()[:24]}-{variable}"[:64]
