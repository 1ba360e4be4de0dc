from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from upswell import cli
from upswell.settings import SETTINGS
from upswell.settings.tables import KINDS

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["config", "check", *arguments])
    return int(exit_.value.code or 0)


def test_config_check_shows_each_setting_with_its_origin_and_no_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "upswell.toml"
    file.write_text("slots = 7\n[apps.e1]\nslo = '90% < 2s'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMQPURL", "amqp://me:secret@host/vh")
    monkeypatch.setenv("UPSWELL_MAX_WORKERS", "4")
    assert run() == 0
    out = capsys.readouterr().out
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert set(shown) >= set(SETTINGS) - set(KINDS)
    assert shown["fleets.docker.network"] == "host (default)"
    assert shown["broker_url"] == "amqp://***@host/vh (AMQPURL)"
    assert shown["max_workers"] == "4 (UPSWELL_MAX_WORKERS)"
    assert shown["slots"] == "7 (upswell.toml)"
    assert shown["window"] == "60.0 (default)"
    assert "secret" not in out


def test_config_check_as_json_hides_passwords_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMQPURL", "amqp://me:secret@host/vh")
    assert run("--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["broker_url"] == {"value": "amqp://***@host/vh", "origin": "AMQPURL"}


def test_config_check_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--explain") == 0
    out = capsys.readouterr().out
    assert "[UPSWELL_SLOTS]" in out
    assert "[UPSWELL_FLEETS_DOCKER_IMAGE]" in out
    assert len(out.splitlines()) >= 2 * (len(SETTINGS) - len(KINDS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slotz = 3", "unknown setting: slotz; did you mean slots?"),
        (
            "[apps.e1]\nslotz = 3",
            "apps.e1.slotz cannot be set per application: unknown",
        ),
        ("[apps.e1]\nslots = 0", "apps.e1.slots must be a whole number from 1 to 1000"),
        ("[apps.'../x']", "an application's name must be"),
        ("slots = ", "the settings file is not valid TOML"),
        ("fleet = 'zeppelin'", "fleet must be one of process, docker, swarm"),
        ("handler = 'uplaod'", "did you mean upload?"),
        ("handler = 'nowhere:function'", "handler nowhere:function: cannot import nowhere"),
        ("handler = 'os:getcwd'", "handler os:getcwd must take one argument, the request"),
        ("destination = 's3:/bucket'", "destination must begin with s3://, got s3:/bucket"),
        ("[apps.e1]\ndestination = 'S3:bucket'", "apps.e1.destination must begin with s3://, got S3:bucket"),
        ("source_stores = ['gs:/bucket']", "source_stores must begin with gs://, got gs:/bucket"),
        ("destination = 'ftp://host/x'", "scheme must be one of file, s3, gs, az"),
        ("destination = 'https://host/x'", "a web server cannot be a destination, got https://host/x"),
        ("destination = 's3://b'", "a bucket's name must be 2 to 222 letters"),
        ("min_workers = 5\nmax_workers = 2", "max_workers must be >= min_workers (5), got 2"),
    ],
)
def test_config_check_finds_what_is_wrong_in_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    assert run("--config", str(file)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("table", ["", "[apps.e1]\n"])
def test_config_check_reads_the_rules_and_names_the_line_of_an_error(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where no application is named yet: the setting holds for all to come."""
    (tmp_path / "own.toml").write_text('[rules.floor]\nwhen = "true"\nat_leest = 4\n')
    (tmp_path / "upswell.toml").write_text(f"{table}rules_file = 'own.toml'\n")
    monkeypatch.chdir(tmp_path)
    assert run() == 1
    error = capsys.readouterr().err
    assert "own.toml, line 3, rule floor" in error
    assert "at_leest" in error


def test_config_check_refuses_a_policy_that_there_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSWELL_POLICY", "kedda")
    assert run() == 1
    assert "did you mean keda?" in capsys.readouterr().err
