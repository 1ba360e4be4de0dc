"""The command that adds an extra names what Upswell came from: a folder, a wheel, a repository, an index."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from upswell import extras

ROOT = Path(__file__).parents[2]


class Installed:
    """Stands for the installed distribution: its record of where it came from, and its requirements."""

    requires = (
        "click>=8.1",
        "obstore>=0.9; extra == 'cloud'",
        "aiodocker>=0.27; extra == 'docker'",
        "tzdata; python_version > '3' and extra == 'rules'",
        "cel; extra == 'rules'",
        "psycopg[binary]>=3.2; extra == 'examples'",
    )

    def __init__(self, record: dict[str, object] | None) -> None:
        self._record = record

    def read_text(self, name: str) -> str | None:
        """Return the record as the installer wrote it."""
        assert name == "direct_url.json"
        return None if self._record is None else json.dumps(self._record)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment made by `python -m venv`, with pip in it."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: name)
    return tmp_path


def installed_from(monkeypatch: pytest.MonkeyPatch, record: dict[str, object] | None) -> None:
    monkeypatch.setattr(extras, "distribution", lambda _name: Installed(record))


@pytest.mark.usefixtures("environment")
def test_from_an_index_the_index_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, None)
    assert extras.how_to_add("cloud") == "pip install 'upswell[cloud]'"


def test_from_a_folder_the_folder_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = environment / "a folder"
    folder.mkdir()
    record = {"url": folder.as_uri(), "dir_info": {}}
    installed_from(monkeypatch, record)
    assert extras.how_to_add("cloud", "rules") == f"pip install '{folder}[cloud,rules]'"
    installed_from(monkeypatch, {**record, "dir_info": {"editable": True}})
    assert extras.how_to_add("cloud") == f"pip install -e '{folder}[cloud]'"


def test_a_folder_that_is_gone_is_not_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an image, which was built in a folder that it does not hold."""
    installed_from(monkeypatch, {"url": (environment / "gone").as_uri(), "dir_info": {}})
    assert extras.how_to_add("cloud") == 'see "Install" in Upswell\'s README.md'


@pytest.mark.usefixtures("environment")
def test_from_a_repository_its_commit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    vcs = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    installed_from(monkeypatch, {"url": "https://example.org/upswell.git", "vcs_info": vcs})
    assert (
        extras.how_to_add("cloud") == "pip install 'upswell[cloud] @ git+https://example.org/upswell.git@abc'"
    )


@pytest.mark.usefixtures("environment")
def test_from_a_wheel_elsewhere_its_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, {"url": "https://example.org/upswell-0.2.0.whl", "archive_info": {}})
    assert (
        extras.how_to_add("cloud") == "pip install 'upswell[cloud] @ https://example.org/upswell-0.2.0.whl'"
    )


def test_without_pip_the_command_is_that_of_uv(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, None)
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _name: None)
    assert extras.how_to_add("cloud") == f"uv pip install --python {environment} 'upswell[cloud]'"
    (environment / "uv-receipt.toml").touch()
    assert extras.how_to_add("cloud") == "uv tool install --force 'upswell[cloud]'"


@pytest.mark.usefixtures("environment")
def test_an_upswell_that_is_not_installed_names_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert "README.md" in extras.how_to_add("cloud")


@pytest.mark.usefixtures("environment")
def test_what_is_not_installed_is_said_once_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed_from(monkeypatch, None)
    monkeypatch.setattr(
        extras, "_is_installed", {"obstore": True, "aiodocker": False, "tzdata": True, "cel": False}.get
    )
    extras.main()
    assert capsys.readouterr().out == (
        "not installed: docker (--fleet docker, --fleet swarm), rules (rules in CEL); "
        "to add: pip install 'upswell[docker,rules]'\n"
    )
    monkeypatch.setattr(extras, "_is_installed", lambda _package: True)
    extras.main()
    assert not capsys.readouterr().out


def test_no_page_and_no_message_names_an_upswell_on_an_index() -> None:
    """Until it is published: an installer would fetch nothing, or someone else's package of that name."""
    texts = [
        *(ROOT / "src").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"), *(ROOT / "quickstart").rglob("*.md"),
    ]  # fmt: skip
    named = {str(path) for path in texts if re.search(r"install\b[^\n]*\bupswell\[", path.read_text("utf-8"))}
    assert not named
