from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def check(scheme: str, **settings: Any) -> str:
    found = REGISTRY.check(scheme)
    assert found is not None
    return found(Settings(**settings))


def test_a_folder_is_written_to_by_its_check_and_nothing_stays(tmp_path: Path) -> None:
    assert check("file", destination=str(tmp_path)) == "wrote, read and deleted a file"
    assert check("file", destination=str(tmp_path / "not/yet")).endswith(
        f" in {tmp_path}, where the destination will be made"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/below", "file", "closed"])
def test_a_folder_that_cannot_be_written_to_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").symlink_to("/proc")
    with pytest.raises(
        SettingsError, match=f"destination must be a writable folder, got {tmp_path / name}: "
    ):
        check("file", destination=str(tmp_path / name))


def test_an_invalid_origin_is_found() -> None:
    assert check("https", source_origins=["https://*"]) == "allowed: https://*"
    with pytest.raises(SettingsError, match="source_origins must be like"):
        check("https", source_origins=["nonsense"])


def test_a_web_server_is_no_destination() -> None:
    with pytest.raises(SettingsError, match="cannot be a destination"):
        open_store(Settings(destination="https://example.org/x"))


@pytest.mark.parametrize("uri", ["ftp://host/x", "os:system", "package.module:name", ""])
def test_a_message_reaches_no_scheme_but_those_of_the_registry(uri: str) -> None:
    """`package.module:name`, which a setting may be, would import what a message names."""
    with pytest.raises(PermanentUploadError, match="of one of these schemes: file, s3"):
        SourceOpener(Settings()).open(uri)
