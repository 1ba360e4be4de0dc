"""What every scaling policy promises, held to by all that the registry lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from upswell.policies.registry import REGISTRY
from upswell.testing import PolicyContract

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize("policy", REGISTRY.names())
class TestPolicies(PolicyContract):
    """The policies that come with Upswell."""

    NEEDING_NO_DATA = frozenset({"constant"})
    OWN_SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "rules": {"rules_file": str(Path(__file__).parents[2] / "examples/rules/threshold.toml")}
    }
    # Their own rules let one worker go in ten minutes, or some in an hour.
    SECONDS_BETWEEN_DECISIONS: ClassVar[Mapping[str, float]] = {"flink": 600.0, "judoscale": 600.0}
