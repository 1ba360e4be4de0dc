"""Two applications never overwrite each other without a word."""

from __future__ import annotations

import pytest

from upswell.settings import Settings
from upswell.settings.overlaps import Overlap, overlapping_destinations


def test_each_application_has_a_default_destination_of_its_own() -> None:
    settings = Settings(state_dir="/s", apps={"ap1": {}, "ap2": {"slots": 2}})
    assert settings.for_app("ap1").destination_path == "/s/store/ap1"
    assert settings.for_app("ap2").destination_path == "/s/store/ap2"
    assert settings.for_app("observed").destination_path == "/s/store/observed"
    assert overlapping_destinations(settings) == []


def test_a_destination_may_name_the_application() -> None:
    settings = Settings(destination="s3://b/{app_id}/in", apps={"ap1": {}, "ap2": {}})
    assert settings.for_app("ap2").destination_path == "s3://b/ap2/in"
    assert overlapping_destinations(settings) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/x", "S3://b/x/"),
        ("s3://b", "s3://b/x"),
        ("/srv/x", "file:///srv/x"),
        ("/srv/x/y/", "/srv/x"),
    ],
)
def test_a_place_shared_by_two_applications_is_found_however_it_is_written(one: str, other: str) -> None:
    settings = Settings(apps={"ap1": {"destination": one}, "ap2": {"destination": other}})
    (found,) = overlapping_destinations(settings)
    assert {found.outer, found.inner} == {"ap1", "ap2"}


def test_places_that_only_look_alike_are_none() -> None:
    tables = [
        {"destination": "s3://b/x"},
        {"destination": "s3://b/xy"},
        {"destination": "gs://b/x"},
        {"destination": "s3://b/x", "store_endpoint": "http://localhost:1"},
        {"destination": "s3://b/x", "handler": "simulate"},
    ]
    settings = Settings(apps={f"ap{number}": table for number, table in enumerate(tables)})
    assert overlapping_destinations(settings) == []


def test_the_warning_names_both_applications_the_place_and_a_way_out() -> None:
    text = str(Overlap("ap1", "ap2", "s3://b/x"))
    assert text.startswith(
        "ap1 and ap2 both store in s3://b/x, so objects of the same key overwrite each other"
    )
    assert "/{app_id}" in text
