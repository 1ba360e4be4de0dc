"""The server that KEDA connects to, where it cannot be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import SettingsError
from upswell.keda.server import serving
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_state_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    settings = Settings(state_dir=str(tmp_path / "file/state"), keda_listen="127.0.0.1:0")
    no_scaler: Any = None

    async def serve() -> None:
        async with serving(no_scaler, settings):
            pytest.fail("it serves")

    with pytest.raises(SettingsError, match=r"state_dir must be a folder .*file/state: Not a directory"):
        asyncio.run(serve())
