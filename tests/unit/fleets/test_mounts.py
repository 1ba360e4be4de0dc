"""What a container shares with its host: no more than its application's settings name."""

from __future__ import annotations

from upswell.fleets.mounts import Mount, mounts
from upswell.settings import Settings

REMOTE = "amqp://u:p@host"


def test_the_embedded_broker_s_folder_is_shared_with_all_that_lies_in_it() -> None:
    settings = Settings(state_dir="/state", source_roots=["/in"])
    assert mounts(settings) == [Mount("/state", read_only=False), Mount("/in", read_only=True)]


def test_with_a_broker_elsewhere_only_the_store_and_the_sources_are_shared() -> None:
    settings = Settings(state_dir="/state", broker_url=REMOTE, source_roots=["/in", "/in", "/more"]).for_app(
        "e1"
    )
    assert mounts(settings) == [
        Mount("/state/store/e1", read_only=False),
        Mount("/in", read_only=True),
        Mount("/more", read_only=True),
    ]


def test_a_destination_outside_is_shared_too_however_it_is_written() -> None:
    for destination in ("/out", "file:///out"):
        settings = Settings(state_dir="/state", destination=destination)
        assert mounts(settings) == [Mount("/state", read_only=False), Mount("/out", read_only=False)]


def test_a_destination_that_is_no_folder_of_this_machine_is_not_shared() -> None:
    assert mounts(Settings(state_dir="/state", broker_url=REMOTE, destination="s3://bucket")) == []


def test_a_folder_that_is_source_and_destination_at_once_stays_writable() -> None:
    settings = Settings(broker_url=REMOTE, destination="/both", source_roots=["/both"])
    assert mounts(settings) == [Mount("/both", read_only=False)]
