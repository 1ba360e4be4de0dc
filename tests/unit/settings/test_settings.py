"""Settings: flag over environment over file over default; every error says the rule and the value."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from msgspec import Struct

from upswell.errors import SettingsError
from upswell.registry import Entry, Registry
from upswell.settings import PER_APP, SETTINGS, Setting, Settings, Slo, load, variable
from upswell.settings.tables import KINDS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_flag_stands_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "u.toml"
    file.write_text("slots = 2\nmin_workers = 2\nmax_workers = 7\n")
    environment = {"UPSWELL_SLOTS": "3", "UPSWELL_MIN_WORKERS": "3"}
    settings, origins = load({"slots": 4, "policy": None}, environment, file)
    assert (settings.slots, settings.min_workers, settings.max_workers, settings.policy) == (4, 3, 7, "slo")
    assert origins["slots"] == "flag"
    assert origins["min_workers"] == "UPSWELL_MIN_WORKERS"
    assert origins["max_workers"] == str(file)
    assert origins["policy"] == "default"


def test_the_broker_is_named_by_amqpurl_as_in_the_course() -> None:
    settings, origins = load({}, {"AMQPURL": "amqp://u:p@h/v"})
    assert settings.broker_url == "amqp://u:p@h/v"
    assert origins["broker_url"] == "AMQPURL"


def test_a_file_in_the_current_folder_is_read_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "upswell.toml").write_text("slots = 9\n")
    assert load({}, {})[0].slots == 9


def test_an_application_overrides_the_general_settings_for_itself_alone(tmp_path: Path) -> None:
    file = tmp_path / "u.toml"
    file.write_text('slots = 2\n[apps.e1]\nslots = 8\nslo = "99% < 2min"\n[apps.e2]\n')
    settings, _ = load({}, {}, file)
    assert settings.for_app("e1").slots == 8
    assert settings.for_app("e1").objective == Slo(0.99, 120.0)
    assert settings.for_app("e2").slots == 2
    assert settings.for_app("someone-else").slots == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"slots": 0}, 'slots must be a whole number from 1 to 1000, or "auto", got 0'),
        ({"slots": "many"}, "slots must be a whole number"),
        ({"slotz": 1}, "unknown setting: slotz; did you mean slots?"),
        ({"tolerance": float("nan")}, "tolerance must be"),
        ({"window": -1}, "window must be a number > 0"),
        ({"min_workers": 12}, "max_workers must be >= min_workers (12), got 10"),
        (
            {"max_workers_total": 4, "standby_workers": 2, "apps": {"a": {}, "b": {}}},
            "max_workers_total must be 0 or > the sum of all standby_workers (4), got 4",
        ),
        ({"slo": "0s"}, 'slo must have the form "95% < 30s"'),
        ({"slo": "120% < 30s"}, "slo must have a percentage > 0 and < 100, got '120% < 30s'"),
        ({"slo": "0% < 30s"}, "slo must have a percentage > 0"),
        ({"slo": "95% < 0s"}, "slo must have a time > 0 s, got '95% < 0s'"),
        ({"broker_url": "http://guest:secret@h"}, "broker_url must start with amqp:// or amqps://"),
        ({"on_conflict": "shrug"}, "on_conflict must be one of overwrite, skip, fail, got 'shrug'"),
        ({"delivery_limit": 0}, "delivery_limit must be a whole number >= 1, got 0"),
        ({"bottleneck_check": "maybe"}, "bottleneck_check must be true or false, got 'maybe'"),
        ({"image": "x"}, "image is no longer a setting: use fleets.docker.image"),
        (
            {"apps": {"e1": {"image": "x"}}},
            "apps.e1.image is no longer a setting",
        ),
        ({"fleets.docker.imag": "x"}, "unknown setting: fleets.docker.imag; did you mean image?"),
        ({"fleets.docker.network": "a b"}, "fleets.docker.network must be the name of a network, got 'a b'"),
        ({"fleets.dokcer.image": "x"}, "did you mean docker?"),
        ({"part_size": 5}, "part_size is no longer a setting: use stores.objects.part_size"),
        (
            {"stores.objects.part_size": 5},
            "stores.objects.part_size must be a whole number >= 5242880, got 5",
        ),
        ({"apps": {"e1": {"brokers": {}}}}, "apps.e1.brokers cannot be set per application"),
        ({"fleets.process.image": "x"}, "fleets.process has no settings"),
        ({"fleets": "docker"}, "UPSWELL_FLEETS must be a JSON object"),
        ({"fleets": {"docker": 3}}, "fleets must contain tables such as [fleets.NAME]"),
        (
            {"apps": {"e1": {"handlers": {"simulate": {"seconds": "soon"}}}}},
            "apps.e1.handlers.simulate.seconds must be",
        ),
        (
            {"apps": {"e1": {"fleets": {"docker": "photos:2"}}}},
            "apps.e1.fleets must contain tables such as [apps.e1.fleets.NAME], got {'docker': 'photos:2'}",
        ),
        (
            {"apps": {"e1": {"handlers": "simulate"}}},
            "apps.e1.handlers must contain tables such as [apps.e1.handlers.NAME], got 'simulate'",
        ),
        (
            {"state_dir": "~nobody-of-this-name/x"},
            "state_dir must begin with the home folder of a user that exists, got ~nobody-of-this-name/x",
        ),
        (
            {"apps": {"e1": {"destination": "file://~nobody-of-this-name/x"}}},
            "apps.e1.destination must begin with the home folder of a user that exists",
        ),
        (
            {"upload_queue": "all", "apps": {"a": {}, "b": {}}},
            "upload_queue must differ between applications, got all for a and b",
        ),
        (
            {"upload_queue": "a b"},
            "upload_queue must be letters, digits, '_', '.', '-' and {app_id}",
        ),
        ({"report_queue": "a b"}, "report_queue must be letters, digits"),
        ({"apps": {"../x": {}}}, "an application's name must be 1 to 64 letters"),
        (
            {"apps": {"e1": {"slotz": 1}}},
            "apps.e1.slotz cannot be set per application: unknown",
        ),
        (
            {"apps": {"e1": {"slots": 0}}},
            "apps.e1.slots must be a whole number from 1 to 1000",
        ),
        (
            {"apps": {"e1": {"report_queue": "r"}}},
            "report_queue cannot be set per application: it applies to all",
        ),
        ({"apps": {"e1": {"slo": "200% < 1s"}}}, "apps.e1.slo must have a percentage > 0"),
    ],
)
def test_a_bad_setting_is_refused_with_its_rule_and_its_value(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags, {})
    assert message in str(caught.value)


def test_a_secret_in_a_bad_broker_url_is_masked() -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {"AMQPURL": "redis://user:hunter2@h"})
    assert "hunter2" not in str(caught.value)


def test_a_mistyped_variable_is_an_error_that_suggests_the_nearest() -> None:
    """It would otherwise be ignored in silence."""
    with pytest.raises(SettingsError, match="UPSWELL_SLOT; did you mean UPSWELL_SLOTS"):
        load({}, {"UPSWELL_SLOT": "4"})


def test_lists_and_tables_can_stand_in_the_environment() -> None:
    settings, _ = load({}, {"UPSWELL_SOURCE_ROOTS": "/a:/b", "UPSWELL_APPS": "e1,e2"})
    assert settings.source_roots == ["/a", "/b"]
    assert set(settings.apps) == {"e1", "e2"}
    assert load({}, {"UPSWELL_APPS": '{"e1": {"slots": 2}}'})[0].for_app("e1").slots == 2
    with pytest.raises(SettingsError, match="UPSWELL_APPS must be a JSON object"):
        load({}, {"UPSWELL_APPS": '{"e1"'})


@pytest.mark.parametrize("text", ["slots = ", "\x00", "[apps"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "u.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"is not valid TOML: .*u\.toml"):
        load({}, {}, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*nowhere\.toml"):
        load({}, {}, tmp_path / "nowhere.toml")


@pytest.mark.parametrize("text", ["95% < 30s", "99.9% < 2min", "50%<500ms", " 90 % <= 1 h "])
def test_an_objective_reads_as_people_write_it(text: str) -> None:
    slo = Slo.parse(text)
    assert Slo.parse(str(slo)) == slo


def test_every_setting_has_a_reason() -> None:
    assert all(setting.text for setting in SETTINGS.values())
    assert set(SETTINGS) >= PER_APP


def test_state_lies_in_the_xdg_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/x")
    assert Settings().state_path == Path("/var/x/upswell")
    assert Settings(state_dir="/s").state_path == Path("/s")
    assert variable("slots") == "UPSWELL_SLOTS"


def test_the_page_of_settings_shows_every_setting_as_it_is() -> None:
    """Run scripts/write_docs after a change."""
    root = Path(__file__).parents[3]
    page = (root / "docs/settings.md").read_text("utf-8")
    for name in SETTINGS.keys() - KINDS:
        assert f"| `{name}` | `{variable(name)}` |" in page
        assert SETTINGS[name].text in page


def test_slots_auto_begins_with_four_and_a_number_of_an_applications_own_stands_over_it() -> None:
    apps = {"a": {"slots": 3}, "b": {}, "c": {"slots": "auto"}}
    settings, _ = load({"slots": "auto", "apps": apps}, {})
    own = {name: (settings.for_app(name).initial_slots, settings.for_app(name).auto_slots) for name in apps}
    assert own == {"a": (3, False), "b": (4, True), "c": (4, True)}
    assert load({"slots": "8"}, {"UPSWELL_SLOTS": "auto"})[0].auto_slots is False


def test_a_table_is_merged_setting_by_setting_and_an_application_overrides_it(tmp_path: Path) -> None:
    file = tmp_path / "u.toml"
    file.write_text(
        '[fleets.docker]\nimage = "a"\nnetwork = "n"\n'
        '[apps.e1.fleets.docker]\nimage = "own"\n[apps.e1.policies]\n'
    )
    settings, origins = load({"handlers.simulate.seconds": "1-2"}, {"UPSWELL_FLEETS_DOCKER_IMAGE": "b"}, file)
    assert settings.fleets == {"docker": {"image": "b", "network": "n"}}
    assert settings.for_app("e1").fleets == {"docker": {"image": "own", "network": "n"}}
    assert origins["fleets.docker.image"] == "UPSWELL_FLEETS_DOCKER_IMAGE"
    assert origins["fleets.docker.network"] == str(file)
    assert origins["handlers.simulate.seconds"] == "flag"
    assert settings.handlers == {"simulate": {"seconds": "1-2"}}


def test_a_table_of_a_fleet_whose_extra_is_not_installed_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor reads the same file as the scaler, on a machine without Docker's client."""
    monkeypatch.setitem(sys.modules, "aiodocker", None)
    monkeypatch.delitem(sys.modules, "upswell.fleets.docker", raising=False)
    assert load({"fleets.docker.image": "x"}, {})[0].fleets == {"docker": {"image": "x"}}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            "UPSWELL_DOCKER_NETWORK",
            "is no longer a setting: use fleets.docker.network",
        ),
        ("UPSWELL_FLEETS_DOCKER_IMAG", "unknown setting: fleets.docker.imag; did you mean image?"),
        ("UPSWELL_FLEETS_DOKCER_IMAGE", "unknown setting in the environment: UPSWELL_FLEETS_DOKCER_IMAGE"),
    ],
)
def test_a_variable_that_was_removed_or_is_mistyped_is_an_error(variable: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {variable: "x"})
    assert message in str(caught.value)


def test_every_part_reads_an_applications_upload_queue_from_its_settings() -> None:
    settings = Settings(upload_queue="{app_id}.in", apps={"e1": {"upload_queue": "photos"}, "e2": {}})
    assert [settings.upload_queue_of(app) for app in ("e1", "e2")] == ["photos", "e2.in"]
    assert Settings().upload_queue_of("e1") == "e1_upload"


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("SOURCE_ORIGINS", "https://a.example,http://[::1]:8080", ["https://a.example", "http://[::1]:8080"]),
        ("SOURCE_NETWORKS", "10.0.0.0/8,fd00::/8", ["10.0.0.0/8", "fd00::/8"]),
        ("SOURCE_STORES", "s3://a/b gs://c", ["s3://a/b", "gs://c"]),
    ],
)
def test_a_list_stands_in_one_variable(name: str, text: str, values: list[str]) -> None:
    settings, _ = load({}, {f"UPSWELL_{name}": text})
    assert getattr(settings, name.lower()) == values


class NomadSettings(Struct, frozen=True):
    """What a fleet of another package may be told."""

    address: Annotated[str, Setting("Where the server is.")] = "here"
    regions: Annotated[list[str], Setting("Where workers may run.", separator=",")] = []
    slots: int = 1


def test_a_fleet_from_another_package_brings_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(name="nomad_x", factory="x:y", settings=f"{__name__}:NomadSettings")
    monkeypatch.setitem(
        sys.modules, __name__, sys.modules.get(__name__) or SimpleNamespace(NomadSettings=NomadSettings)
    )
    registry = Registry("fleet", "upswell.fleets", [entry])
    monkeypatch.setattr("upswell.fleets.registry.REGISTRY", registry)
    variables = {"UPSWELL_FLEETS_NOMAD_X_REGIONS": "eu,us", "UPSWELL_FLEETS_NOMAD_X_SLOTS": "3"}
    settings, _ = load({"apps": {"e1": {"fleets": {"nomad_x": {"address": "there"}}}}}, variables)
    assert settings.for_app("e1").own("fleets", "nomad_x", NomadSettings) == NomadSettings(
        "there", ["eu", "us"], 3
    )
    with pytest.raises(SettingsError, match=r"fleets\.nomad_x\.adress; did you mean address"):
        load({"fleets.nomad_x.adress": "x"}, {})
    with pytest.raises(SettingsError, match=r"fleets\.nomad_x\.slots must be a whole number, got 'some'"):
        load({"fleets.nomad_x.slots": "some"}, {})


def test_variables_that_kubernetes_sets_for_a_service_are_no_settings() -> None:
    links = {
        "UPSWELL_KEDA_SERVICE_HOST": "10.0.0.7",
        "UPSWELL_KEDA_SERVICE_PORT": "6000",
        "UPSWELL_KEDA_SERVICE_PORT_GRPC": "6000",
        "UPSWELL_KEDA_PORT": "tcp://10.0.0.7:6000",
        "UPSWELL_KEDA_PORT_6000_TCP": "tcp://10.0.0.7:6000",
        "UPSWELL_KEDA_PORT_6000_TCP_ADDR": "10.0.0.7",
    }
    assert load(environment=links)[0] == load(environment={})[0]


@pytest.mark.parametrize("client_ca", ["", "ca.pem"])
def test_tls_for_keda_needs_certificate_and_key_together(client_ca: str) -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        load({"keda_tls_certificate": "a.pem", "keda_tls_client_ca": client_ca}, environment={})
    with pytest.raises(SettingsError, match=r"only with them, got '', '', 'ca.pem'"):
        load({"keda_tls_client_ca": "ca.pem"}, environment={})
