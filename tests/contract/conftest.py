"""Where the contract's brokers meet: a RabbitMQ node, or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.broker_place import Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(
    params=[
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
        "sqlite",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each test runs once at each place."""
    if request.param == "rabbitmq":
        return Place("rabbitmq", request.getfixturevalue("rabbitmq"))
    return Place("sqlite", str(tmp_path / "broker.db"))
