"""One registry serves every seam, so what it promises is tested once."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

from upswell.errors import SettingsError
from upswell.registry import Entry, Registry

if TYPE_CHECKING:
    from pathlib import Path


def make_registry() -> Registry[Any]:
    return Registry(
        "policy",
        "upswell.test_policies",
        [
            Entry(name="slo", factory="upswell.errors:UpswellError", settings="upswell.settings:Slo"),
            Entry(name="cloudy", factory="upswell.no_such_module:Thing", extra="cloud"),
        ],
    )


def test_an_entry_gives_its_factory_and_the_type_of_its_settings() -> None:
    made = make_registry()
    assert made.load("slo").__name__ == "UpswellError"
    settings_type = made.settings_type("slo")
    assert settings_type is not None
    assert settings_type.__name__ == "Slo"
    assert made.check("slo") is None


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"policy must be one of slo, cloudy, .* got 'sol'; did you mean slo\?"
    ):
        make_registry().load("sol")


def test_a_missing_extra_says_what_to_install() -> None:
    with pytest.raises(SettingsError, match=r"policy cloudy needs the extra cloud \(.*pip install "):
        make_registry().load("cloudy")


def test_a_place_in_the_folder_one_stands_in_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_policy.py").write_text("class Mine: pass\nnumber = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert make_registry().load("my_own_policy:Mine").__name__ == "Mine"
    with pytest.raises(SettingsError, match=r"my_own_policy has no Mime; did you mean Mine\?"):
        make_registry().load("my_own_policy:Mime")
    with pytest.raises(SettingsError, match="must be callable, got int"):
        make_registry().load("my_own_policy:number")


def test_a_module_that_fails_while_it_is_imported_is_a_settings_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_policy.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(SettingsError, match=r"cannot import broken_policy .* ZeroDivisionError"):
        make_registry().load("broken_policy:Mine")


def test_an_installed_package_adds_a_factory_or_a_whole_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "added_policies.py").write_text(
        "from upswell.registry import Entry\n"
        "class Mine: pass\n"
        "ENTRY = Entry(name='whole', factory='added_policies:Mine', extra='none')\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    points = [
        EntryPoint("plain", "added_policies:Mine", "upswell.test_policies"),
        EntryPoint("whole", "added_policies:ENTRY", "upswell.test_policies"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    made = make_registry()
    assert made.names() == ["slo", "cloudy", "plain", "whole"]
    assert made.load("plain") is made.load("whole")
    assert made.entry("whole").extra == "none"
