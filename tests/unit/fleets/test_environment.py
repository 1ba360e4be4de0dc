"""A worker that loads its variables has the settings that the scaler has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from upswell.errors import SettingsError
from upswell.fleets.environment import identity, passed_on, worker_environment
from upswell.fleets.protocol import WorkerSpec
from upswell.fleets.worker_settings import settings_hash, worker_settings
from upswell.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

ODD = Settings(
    broker_url="amqps://user:p%40ss@host:5671/vh",
    state_dir="/var/lib/up swell",
    report_queue="DSTREPORT",
    slo="99.5% < 250ms",
    min_workers=0,
    max_workers=77,
    slots="auto",
    handler="simulate",
    destination="/data/ö ä",
    source_roots=["/a", "/b c"],
    source_origins=["https://*.example.org", "http://[fd00::1]:8080"],
    source_networks=["fd00::/8", "10.0.0.0/8"],
    source_stores=["s3://bucket/a", "gs://b"],
    upload_timeout=12.5,
    upload_rate_limit=1e6,
    handlers={"simulate": {"seconds": "0.05-0.2"}},
    status_interval=0.25,
    log_format="json",
)


def in_the_worker(settings: Settings, app_id: str) -> Settings:
    return load(environment=worker_environment(settings, app_id))[0].for_app(app_id)


def test_settings_come_out_of_the_variables_as_they_went_in() -> None:
    assert in_the_worker(ODD, "a1") == replace(ODD, apps={"a1": {}})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "slots": st.integers(1, 1000),
            "upload_timeout": st.floats(0.001, 1e9),
            "retry_backoff": st.floats(0, 3600),
            "tolerance": st.floats(0, 0.999),
            "delivery_limit": st.integers(1, 1000),
            "min_workers": st.integers(0, 10),
            "destination": st.sampled_from(["", "/x", "s3://bucket/x", "file:///y"]),
        },
    )
)
def test_an_application_s_own_settings_reach_its_workers(own: dict[str, object]) -> None:
    settings = Settings(state_dir="/state", apps={"a1": own, "b2": {"slots": 3}})
    expected = replace(settings.for_app("a1"), apps={"a1": {}})
    assert in_the_worker(settings.for_app("a1"), "a1") == expected
    assert worker_settings(expected, "a1") == worker_settings(settings.for_app("a1"), "a1")


def test_a_setting_that_a_worker_reads_changes_its_settings_hash_and_no_other_does() -> None:
    """Else `config check` would ask for a restart after each change of max_workers."""

    def hashed(**changed: Any) -> str:
        return settings_hash(worker_settings(Settings(state_dir="/s", **changed), "a1"))

    same: dict[str, Any] = {
        "max_workers": 3,
        "slo": "90% < 3s",
        "policy": "keda",
        "broker_url": "amqp://u:p@host",
    }
    assert hashed(**same) == hashed()
    for name, value in {"slots": 8, "destination": "/x", "upload_rate_limit": 5.0}.items():
        assert hashed(**{name: value}) != hashed(), name
    assert hashed(handlers={"simulate": {"seconds": "3"}}) != hashed()


def test_only_what_differs_from_the_defaults_is_passed() -> None:
    assert set(worker_environment(Settings(slots=3, state_dir="/s"), "a1")) == {
        "UPSWELL_CONFIG",
        "UPSWELL_STATE_DIR",
        "UPSWELL_APPS",
        "UPSWELL_SLOTS",
    }


def test_a_settings_file_in_the_worker_s_folder_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "upswell.toml").write_text("slots = 99")
    monkeypatch.chdir(tmp_path)
    assert in_the_worker(Settings(), "a1").slots == Settings().slots


def test_relative_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker may run in another folder, or in a container."""
    monkeypatch.chdir(tmp_path)
    settings = in_the_worker(Settings(source_roots=["in"], destination="out", state_dir="state"), "a1")
    assert settings.source_roots == [str(tmp_path / "in")]
    assert settings.destination == str(tmp_path / "out")
    assert settings.state_path == tmp_path / "state"


@pytest.mark.parametrize("root", [f"/a{os.pathsep}b", "/a\0b"])
def test_a_folder_that_no_variable_can_hold_is_refused(root: str) -> None:
    with pytest.raises(SettingsError, match="source_roots must not contain"):
        worker_environment(Settings(source_roots=[root]), "a1")


def test_every_setting_survives_the_way_to_a_worker() -> None:
    """A new setting of a new type would need a new way to write it: then this fails."""
    assert set(asdict(ODD)) == set(Settings.__struct_fields__)
    for name in Settings.__struct_fields__:
        if name not in ("apps", "fleets", "policies"):
            one = Settings(**{"state_dir": "/s", name: getattr(ODD, name)})
            assert getattr(in_the_worker(one, "a1"), name) == getattr(one, name)


def test_a_worker_learns_who_it_is_and_when_it_was_asked_for() -> None:
    spec = WorkerSpec(worker_id="w1", app_id="a1", standby=False, requested_at=0.1 + 0.2, environment={})
    assert identity(spec) == {
        "UPSWELL_WORKER_ID": "w1",
        "UPSWELL_REQUESTED_AT": "0.30000000000000004",
    }
    assert load(environment=identity(spec))[0] == Settings()


def test_a_worker_gets_the_stores_credentials_and_what_is_asked_for_but_no_other_settings() -> None:
    here = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "PGHOST": "db",
        "PGPASSWORD": "p",
        "TOKEN": "t",
        "TOKENS": "no",
        "UPSWELL_SLOTS": "9",
        "AMQPURL": "amqp://elsewhere",
        "UPSWELL_CONFIG": "/mine.toml",
    }
    assert sorted(passed_on([], here)) == ["AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS"]
    asked = passed_on(["PG*", "TOKEN"], here)
    assert sorted(set(asked) - set(passed_on([], here))) == ["PGHOST", "PGPASSWORD", "TOKEN"]
    assert not {"UPSWELL_SLOTS", "AMQPURL", "UPSWELL_CONFIG"} & set(passed_on(["*"], here))


def test_a_variable_to_pass_on_must_be_a_name() -> None:
    with pytest.raises(SettingsError, match="worker_variables"):
        load(environment={"UPSWELL_WORKER_VARIABLES": "PG* A-B"})
