from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.errors import PermanentUploadError, SettingsError
from upswell.settings import Settings
from upswell.stores.registry import REGISTRY, SourceOpener, open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("scheme", ["file", "s3", "gs", "az", "http", "https"])
def test_every_scheme_has_a_check_for_the_doctor(scheme: str) -> None:
    assert callable(REGISTRY.check(scheme))
    assert REGISTRY.load(scheme)() is not None


def test_a_folder_that_cannot_be_written_to_is_found_without_writing(tmp_path: Path) -> None:
    check = REGISTRY.check("file")
    assert check is not None
    assert check(Settings(destination=str(tmp_path / "not/yet/there"))) is None
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in check(Settings(destination=str(tmp_path / "file/below")))


def test_an_invalid_origin_is_found() -> None:
    check = REGISTRY.check("https")
    assert check is not None
    assert check(Settings(source_origins=["https://*"])) is None
    assert "source_origins must be like" in check(Settings(source_origins=["nonsense"]))


def test_a_web_server_is_no_destination() -> None:
    with pytest.raises(SettingsError, match="cannot be a destination"):
        open_store(Settings(destination="https://example.org/x"))


@pytest.mark.parametrize("uri", ["ftp://host/x", "os:system", "package.module:name", ""])
def test_a_message_reaches_no_scheme_but_those_of_the_registry(uri: str) -> None:
    """`package.module:name`, which a setting may be, would import what a message names."""
    with pytest.raises(PermanentUploadError, match="of one of these schemes: file, s3"):
        SourceOpener(Settings()).open(uri)
