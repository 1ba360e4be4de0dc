"""`upswell config check`: each setting, its value without secrets, and where it came from."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from upswell.cli.options import config_option, load_settings
from upswell.policies.registry import policy_for
from upswell.safe import safe
from upswell.settings import Settings, describe, variable


@click.group("config")
def command() -> None:
    """Show each setting, its value and where it came from."""


@command.command("check")
@config_option
@click.option(
    "--explain", is_flag=True, help="Also say what each setting is for, and its environment variable."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config: str | None, as_json: bool, explain: bool) -> None:
    """Load the settings, and print each with its value and origin; exit 1 where one is wrong."""
    settings, origins = load_settings(config, {})
    for app in settings.apps or ("every application",):
        policy_for(settings.for_app(app))  # reads the rules file, too, where there is one
    shown = {name: _shown(settings, name) for name in Settings.__struct_fields__}
    if as_json:
        both = {name: {"value": value, "origin": origins[name]} for name, value in shown.items()}
        click.echo(safe(msgspec.json.encode(both).decode(), None))
        return
    width = max(map(len, shown))
    value_width = min(40, max(len(_text(value)) for value in shown.values()))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {_text(value):<{value_width}}  ({safe(origins[name])})")
        if explain:
            click.echo(f"{'':<{width}}  {describe(name)} [{variable(name)}]")


def _shown(settings: Settings, name: str) -> Any:
    """Return a setting's value; where an empty one stands for something, what it stands for."""
    if name == "state_dir":
        return str(settings.state_path)
    if name == "destination":
        return settings.destination_path
    return getattr(settings, name)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return safe(value if isinstance(value, str) else msgspec.json.encode(value).decode()) or '""'
