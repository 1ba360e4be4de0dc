from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from upswell.cli.options import load_settings, with_settings
from upswell.errors import SettingsError
from upswell.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
slots = 2
[apps.e1]
slots = 8
max_workers = 3
[apps.e2]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return str(path)


def test_an_applications_table_stands_over_the_general_settings(file: str) -> None:
    settings, _ = load_settings(file, {})
    assert settings.for_app("e1").slots == 8
    assert settings.for_app("e2").slots == 2


def test_a_flag_stands_over_an_applications_table_too(file: str) -> None:
    """What is typed now is what is meant; the table's other settings stay."""
    settings, origins = load_settings(file, {"slots": "5"})
    assert settings.for_app("e1").slots == 5
    assert settings.for_app("e1").max_workers == 3
    assert origins["slots"] == "flag"


def test_named_applications_are_the_only_ones_and_keep_their_tables(file: str) -> None:
    settings, _ = load_settings(file, {}, ("e1", "new"))
    assert set(settings.apps) == {"e1", "new"}
    assert settings.for_app("e1").slots == 8


@pytest.mark.parametrize("slo", ["0s", "120%", "95% < 0s", "120% < 3s", "95% < 30"])
def test_an_impossible_slo_is_refused_with_the_rule_and_the_value(slo: str, file: str) -> None:
    with pytest.raises(SettingsError, match=r"slo must .*got '"):
        load_settings(file, {"slo": slo})


def test_what_is_set_stands_over_a_table_of_an_application_too(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[apps.e1.fleets.docker]\nimage = "own"\nnetwork = "n"\n')
    settings, _ = load_settings(str(path), {"fleets.docker.image": "typed"})
    assert settings.for_app("e1").fleets == {"docker": {"image": "typed", "network": "n"}}


def test_a_command_offers_the_settings_that_name_it_and_any_other_by_set() -> None:
    @click.command
    @with_settings("worker")
    def command(settings: Settings) -> None:
        click.echo(f"{settings.slots} {settings.handlers} {settings.verify}")

    result = CliRunner().invoke(
        command, ["--slots", "auto", "--set", "handlers.simulate.seconds=3", "--set", "verify=read"]
    )
    assert result.output == "auto {'simulate': {'seconds': '3'}} read\n"
    offered = {name for name, setting in SETTINGS.items() if "worker" in setting.flags}
    assert "upload_queue" in offered
    assert all(
        f"--{name.replace('_', '-')}"[:-1] in CliRunner().invoke(command, ["--help"]).output
        for name in offered
    )


@pytest.mark.parametrize(
    ("text", "message"), [("slots", "NAME=VALUE"), ("broker_url=amqp://u:p@h", "set AMQPURL")]
)
def test_a_wrong_set_is_refused(text: str, message: str) -> None:
    @click.command
    @with_settings("worker")
    def command(settings: Settings) -> None: ...

    result = CliRunner().invoke(command, ["--set", text])
    assert result.exit_code == 2
    assert message in result.output
