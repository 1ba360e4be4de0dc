"""Where an object is stored, as an address that a person or a program can use."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from upswell.publisher.sources import local_path
from upswell.stores import addresses
from upswell.stores.addresses import Addresses

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_examples_in_the_docs_hold() -> None:
    results = doctest.testmod(addresses)
    assert (results.failed, results.attempted) == (0, 2)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50))
def test_the_address_in_a_folder_leads_back_to_the_file(key: str) -> None:
    assert local_path(Addresses("/srv/50% off").of(key)) == f"/srv/50% off/{key}"


def test_a_folder_may_be_named_in_any_of_its_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("store", "~/store", f"{tmp_path}/store/", f"file://{tmp_path}/store"):
        assert Addresses(folder).of("a/b") == (tmp_path / "store/a/b").as_uri()


def test_a_bucket_keeps_the_key_as_it_is() -> None:
    assert Addresses("S3://bucket/").of("50% off?.jpg") == "S3://bucket/50% off?.jpg"
