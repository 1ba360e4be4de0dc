from __future__ import annotations

from upswell.settings import Settings
from upswell.settings.reloading import NEEDS_RESTART, reloaded


def test_what_connections_and_files_are_made_with_is_kept_until_a_restart() -> None:
    old = Settings(broker_url="amqp://a", max_workers=5, window=60.0)
    new = Settings(broker_url="amqp://b", max_workers=9, window=30.0, apps={"e1": {}})
    found = reloaded(old, new)
    assert set(found.changed) == {"max_workers", "apps"}
    assert set(found.kept) == {"broker_url", "window"}
    assert (found.settings.max_workers, found.settings.broker_url, found.settings.window) == (
        9,
        "amqp://a",
        60.0,
    )


def test_the_same_settings_change_nothing() -> None:
    assert reloaded(Settings(), Settings()).changed == ()


def test_what_needs_a_restart_are_settings() -> None:
    assert set(NEEDS_RESTART) <= set(Settings.__struct_fields__)
