"""The handler of benchmarks/reality.py: takes the seconds that the request names (`sleep:1.25`), no bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.messages import UploadRequest

SCHEME = "sleep:"


async def sleep(request: UploadRequest) -> None:
    """Wait as long as the request says."""
    await asyncio.sleep(float(request.uri.removeprefix(SCHEME)))
