from __future__ import annotations

import pytest

from upswell.broker import broker_entry, open_broker
from upswell.broker.rabbitmq import RabbitBroker
from upswell.broker.registry import REGISTRY
from upswell.broker.sqlite import SqliteBroker
from upswell.errors import SettingsError
from upswell.settings import Settings


@pytest.mark.parametrize(
    ("url", "name", "kind"),
    [
        ("", "embedded", SqliteBroker),
        ("amqp://host", "rabbitmq", RabbitBroker),
        ("amqps://host", "rabbitmq", RabbitBroker),
    ],
)
def test_the_scheme_of_the_url_names_the_broker(url: str, name: str, kind: type) -> None:
    settings = Settings(broker_url=url)
    assert settings.broker == name
    assert broker_entry(settings).name == name
    assert isinstance(open_broker(settings, name="test"), kind)


def test_an_unknown_scheme_is_an_error_that_lists_the_brokers() -> None:
    with pytest.raises(SettingsError, match="broker must be one of embedded, rabbitmq"):
        open_broker(Settings(broker_url="kafka://host"), name="test")


def test_only_the_embedded_broker_is_of_this_machine_alone() -> None:
    assert [name for name in REGISTRY.names() if REGISTRY.entry(name).local] == ["embedded"]  # type: ignore[attr-defined]
