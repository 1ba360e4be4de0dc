"""The Python API: publish uploads from a program, wait for them, look at queue and dead letters.

`client.py` is for ordinary programs and threads, `async_client.py` for asyncio; docs/api.md promises what is
exported by `upswell` itself.
"""

from upswell.client.async_client import AsyncClient, AsyncUploadHandle
from upswell.client.client import Client, UploadHandle
from upswell.client.items import Item
from upswell.client.results import AppStatus, DeadUpload, PublishCounts, UploadResult

__all__ = [
    "AppStatus",
    "AsyncClient",
    "AsyncUploadHandle",
    "Client",
    "DeadUpload",
    "Item",
    "PublishCounts",
    "UploadHandle",
    "UploadResult",
]
