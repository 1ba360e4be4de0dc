"""The handler seam: what a worker does with a request.

`upload.py` stores it, `simulate.py` only takes time; `--handler package.module:function` names your own, and
its `context` (`context.py`) opens the source and stores what it made. `registry.py` turns the setting into a
handler.
"""

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.handlers.context import Context
from upswell.handlers.protocol import Handler, Stored
from upswell.messages import UploadRequest

__all__ = [
    "Context",
    "Handler",
    "PermanentUploadError",
    "StoreUnavailableError",
    "Stored",
    "TemporaryUploadError",
    "UploadRequest",
]
