"""Secrets as files: what a platform mounts becomes this process's environment, and nothing shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.errors import SettingsError
from upswell.settings import load
from upswell.settings.secret_files import MAX_SECRET_BYTES, load_secret_files

if TYPE_CHECKING:
    from pathlib import Path


def test_each_file_is_a_variable_and_one_that_is_set_already_stays(tmp_path: Path) -> None:
    (tmp_path / "AMQPURL").write_text("amqp://me:secret@host/\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("from the file")
    environment = {"UPSWELL_SECRETS": str(tmp_path), "AWS_SECRET_ACCESS_KEY": "explicit"}
    load_secret_files(environment)
    assert environment["AMQPURL"] == "amqp://me:secret@host/"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "explicit"
    assert load(environment=environment)[0].broker_url == "amqp://me:secret@host/"


def test_what_kubernetes_keeps_beside_a_secret_is_let_pass(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/AMQPURL").write_text("amqp://host/")
    (tmp_path / "AMQPURL").symlink_to("..data/AMQPURL")
    environment = {"UPSWELL_SECRETS": str(tmp_path)}
    load_secret_files(environment)
    assert environment.pop("AMQPURL") == "amqp://host/"
    assert list(environment) == ["UPSWELL_SECRETS"]


def test_without_a_folder_nothing_is_read() -> None:
    environment: dict[str, str] = {}
    load_secret_files(environment)
    assert environment == {}


def test_a_missing_folder_and_a_file_that_is_no_text_are_errors_without_the_secret(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="UPSWELL_SECRETS must be a folder"):
        load_secret_files({"UPSWELL_SECRETS": str(tmp_path / "none")})
    for content in (b"hunter2\0", b"hunter2" * MAX_SECRET_BYTES):
        (tmp_path / "AMQPURL").write_bytes(content)
        with pytest.raises(SettingsError, match="must be a text") as caught:
            load_secret_files({"UPSWELL_SECRETS": str(tmp_path)})
        assert "hunter2" not in str(caught.value)
