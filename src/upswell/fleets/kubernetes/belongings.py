"""What an application's pods share: the ConfigMap that owns them, and the Secret that they mount.

In: secrets as variables. Out: the owner. Applied when a worker is started and either may have changed; not
otherwise. It knows no pod.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.fleets.kubernetes.manifest import Owner, belongings_name, labels_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.fleets.kubernetes.api import KubernetesApi

TRUSTED_SECONDS = 60.0
"""Who uninstalls deletes the ConfigMap; pods made for a deleted one are collected at once."""


class _Applied(Struct, frozen=True):
    owner: Owner
    content: dict[str, str]
    at: float


class Belongings:
    """The ConfigMaps and Secrets of one installation."""

    def __init__(self, api: KubernetesApi, installation: str) -> None:
        self._api = api
        self._installation = installation
        self._applied: dict[str, _Applied] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, app_id: str, secrets: Mapping[str, str]) -> Owner:
        """Return the owner of an application's pods, once it and the Secret are there as they should be."""
        content = {name: base64.b64encode(value.encode()).decode() for name, value in secrets.items()}
        async with self._locks[app_id]:
            known = self._applied.get(app_id)
            fresh = known is not None and time.monotonic() - known.at < TRUSTED_SECONDS
            if known is not None and fresh and known.content == content:
                return known.owner
            self._applied.pop(app_id, None)
            owner = await self._apply(app_id, content)
            self._applied[app_id] = _Applied(owner, content, time.monotonic())
            return owner

    def doubt(self, app_id: str) -> None:
        """Look again at the next start: somebody took pods away, and their owner may be gone."""
        self._applied.pop(app_id, None)

    async def _apply(self, app_id: str, content: Mapping[str, str]) -> Owner:
        name, labels = belongings_name(self._installation, app_id), labels_of(self._installation, app_id)
        about = {"installation": self._installation, "application": app_id}
        owner = Owner(name, await self._api.apply_config_map(name, labels, about))
        await self._api.apply_secret(name, labels, content, owner.reference(controller=False))
        return owner
