"""The dashboard for Grafana, held to Grafana's own schema; its queries: test_prometheus.py."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARD: dict[str, Any] = json.loads(
    Path(__file__).parents[3].joinpath("deploy/grafana/upswell.json").read_text("utf-8")
)


def unknown(given: Any, read: Any, path: str = "") -> list[str]:
    """Return where Grafana's classes did not keep what they were given."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [
            place
            for key, value in given.items()
            for place in (unknown(value, read[key], f"{path}/{key}") if key in read else [f"{path}/{key}"])
        ]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        pairs = enumerate(zip(given, read, strict=True))
        return [place for i, (one, other) in pairs for place in unknown(one, other, f"{path}/{i}")]
    return [] if given == read else [path]


def through_grafana(dashboard: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))


def test_grafanas_schema_knows_each_field() -> None:
    found = unknown(DASHBOARD, through_grafana(DASHBOARD))
    # A variable's definition, the text in Grafana's list of variables, is missing in this schema.
    assert [place for place in found if not place.endswith("/definition")] == []


def test_a_misspelt_field_would_be_seen() -> None:
    dashboard = copy.deepcopy(DASHBOARD)
    options = dashboard["panels"][1]["fieldConfig"]["defaults"]
    options["unitt"] = "s"
    assert "/panels/1/fieldConfig/defaults/unitt" in unknown(dashboard, through_grafana(dashboard))
