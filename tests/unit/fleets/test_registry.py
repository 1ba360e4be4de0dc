"""The table of fleets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from upswell.errors import SettingsError
from upswell.fleets.process import ProcessFleet
from upswell.fleets.registry import open_fleet
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_fleet_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    assert isinstance(open_fleet(Settings(state_dir=str(tmp_path))), ProcessFleet)
    fleet = open_fleet(Settings(fleet="docker", state_dir=str(tmp_path)))
    assert type(fleet).__name__ == "DockerFleet"


def test_a_missing_docker_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiodocker", None)
    monkeypatch.delitem(sys.modules, "upswell.fleets.engine", raising=False)
    monkeypatch.delitem(sys.modules, "upswell.fleets.docker", raising=False)
    with pytest.raises(SettingsError, match=r"fleet docker needs the extra docker \(.*pip install "):
        open_fleet(Settings(fleet="docker"))
