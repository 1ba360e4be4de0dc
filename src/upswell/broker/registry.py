"""The brokers, by name; `settings.broker` takes the name from the scheme of `broker_url`.

An installed package adds one by an entry point of the group `upswell.brokers`, named after the scheme of its
URLs: its factory takes the settings and the connection's `name`, and returns what keeps
`broker.protocol.Broker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from upswell.registry import Entry, Registry

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker
    from upswell.settings import Settings


class BrokerFactory(Protocol):
    """Makes a broker that is not connected yet."""

    def __call__(self, settings: Settings, *, name: str) -> Broker:
        """Return the broker that the settings name; its connection is called `name`."""
        ...


class BrokerEntry(Entry, frozen=True, kw_only=True):
    """A broker, and in what it differs from others.

    `check` takes the settings and compares this machine's clock with the broker's: it returns a sentence, or
    raises a BrokerError.

    `local`: only processes of this machine reach it. `limits_holding`: it takes a message away that a
    consumer holds for longer than `consumer_timeout`.
    """

    local: bool = False
    limits_holding: bool = False


REGISTRY: Registry[BrokerFactory] = Registry(
    "broker",
    "upswell.brokers",
    [
        BrokerEntry(
            name="embedded",
            factory="upswell.broker.sqlite:open_embedded",
            summary="a file in state_dir, for the processes of one machine",
            local=True,
        ),
        BrokerEntry(
            name="rabbitmq",
            factory="upswell.broker.rabbitmq:open_rabbitmq",
            settings="upswell.broker.rabbitmq.settings:RabbitSettings",
            check="upswell.broker.rabbitmq.management_api:check_clock",
            summary="RabbitMQ at broker_url",
            limits_holding=True,
        ),
    ],
)


def broker_entry(settings: Settings) -> BrokerEntry:
    """Return the entry of the broker that the settings name.

    Raises:
        SettingsError: there is none of that name.
    """
    entry = REGISTRY.entry(settings.broker)
    return entry if isinstance(entry, BrokerEntry) else BrokerEntry(name=entry.name, factory=entry.factory)


def open_broker(settings: Settings, *, name: str) -> Broker:
    """Return the broker that the settings name, not yet connected, its connection called `name`.

    Raises:
        SettingsError: there is no such broker, or its URL is invalid.
    """
    return REGISTRY.load(settings.broker)(settings, name=name)
