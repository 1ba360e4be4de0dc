"""Upload workers that swell and ebb with the work.

What is exported here is public: docs/api.md promises it, and everything else may change. Each name is
imported when it is first used, so that `import upswell` costs nothing and a worker never loads the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.client import (
        AppStatus,
        AsyncClient,
        AsyncUploadHandle,
        Client,
        DeadUpload,
        PublishCounts,
        UploadHandle,
        UploadResult,
    )
    from upswell.errors import (
        BrokerError,
        MessageError,
        PermanentUploadError,
        SettingsError,
        StoreUnavailableError,
        TemporaryUploadError,
        UploadFailed,
        UpswellError,
    )
    from upswell.handlers import Context, Stored
    from upswell.handlers.own import handler
    from upswell.messages import UploadRequest
    from upswell.policies.own import policy
    from upswell.settings import Settings

__version__ = "0.2.0"

__all__ = [
    "AppStatus",
    "AsyncClient",
    "AsyncUploadHandle",
    "BrokerError",
    "Client",
    "Context",
    "DeadUpload",
    "Decision",
    "MessageError",
    "PermanentUploadError",
    "PublishCounts",
    "Settings",
    "SettingsError",
    "Snapshot",
    "StoreUnavailableError",
    "Stored",
    "TemporaryUploadError",
    "UploadFailed",
    "UploadHandle",
    "UploadRequest",
    "UploadResult",
    "UpswellError",
    "__version__",
    "handler",
    "policy",
]

_MODULES = {
    "upswell.analysis.decision": ("Decision",),
    "upswell.analysis.snapshot": ("Snapshot",),
    "upswell.client": (
        "AppStatus", "AsyncClient", "AsyncUploadHandle", "Client", "DeadUpload", "PublishCounts",
        "UploadHandle", "UploadResult",
    ),
    "upswell.errors": (
        "BrokerError", "MessageError", "PermanentUploadError", "SettingsError", "StoreUnavailableError",
        "TemporaryUploadError", "UploadFailed", "UpswellError",
    ),
    "upswell.handlers": ("Context", "Stored"),
    "upswell.handlers.own": ("handler",),
    "upswell.messages": ("UploadRequest",),
    "upswell.policies.own": ("policy",),
    "upswell.settings": ("Settings",),
}  # fmt: skip
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'upswell' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
