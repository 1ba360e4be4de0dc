"""`upswell config check`: each setting, its value without secrets, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell import events
from upswell.analysis.cold_start import cold_start
from upswell.cli.connection import run
from upswell.cli.help import CommandGroup
from upswell.cli.journals import journal_path
from upswell.cli.look.running_settings import differences
from upswell.cli.options import config_option, load_settings
from upswell.cli.safe_json import safe_json
from upswell.cli.text import terminal_width
from upswell.fleets.registry import REGISTRY as FLEETS
from upswell.handlers.registry import check_handler
from upswell.journal import JournalReader
from upswell.policies.registry import policy_for
from upswell.safe import safe
from upswell.settings import SETTINGS, Settings, variable
from upswell.settings.overlaps import overlapping_destinations
from upswell.settings.tables import KINDS, table_settings, table_variable
from upswell.stores.registry import check_destination

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group("config", cls=CommandGroup)
def command() -> None:
    """Show each setting, its value and where it came from."""


@command.command("check", short_help="Check the settings and print each with its value and origin.")
@config_option
@click.option(
    "--explain", is_flag=True, help="Also print each setting's description and environment variable."
)
@click.option("--offline", is_flag=True, help="Do not ask the broker which settings the workers run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config: str | None, as_json: bool, explain: bool, offline: bool) -> None:
    """Load the settings and print each with its value and origin; exit 1 if one is invalid.

    Workers that run other settings, and need a restart to get these, are named on standard error.
    """
    settings, origins = load_settings(config, {})
    FLEETS.entry(settings.fleet)
    for app in settings.apps or ("every application",):
        own = settings.for_app(app)
        check_handler(own)
        check_destination(own)
        policy_for(own)  # also reads the rules file
    for overlap in overlapping_destinations(settings):
        click.echo(f"warning: {overlap}", err=True)
    for sentence in _cold_starts(settings):
        click.echo(f"warning: {sentence}", err=True)
    events.configure(level="error")  # that the broker is away is told once, below
    for difference in [] if offline else run(differences(settings)):
        click.echo(f"warning: {difference}", err=True)
    rows = list(_rows(settings))
    if as_json:
        both = {name: {"value": value, "origin": origins.get(name, "default")} for name, value, *_ in rows}
        click.echo(safe_json(both))
        return
    width = max(len(name) for name, *_ in rows)
    room = (
        (terminal_width() or 1000)
        - width
        - max(len(safe(origin)) for origin in ("default", *origins.values()))
        - 6
    )
    value_width = min(40, max(room, 0), max(len(_text(value)) for _, value, *_ in rows))
    for name, value, text, environment in rows:
        origin = safe(origins.get(name, "default"))
        click.echo(f"{name:<{width}}  {_text(value):<{value_width}}  ({origin})")
        if explain:
            click.echo(f"{'':<{width}}  {text} [{environment}]")


def _cold_starts(settings: Settings) -> Iterator[str]:
    """Give what is out of reach for each application, by the start-up that the journal last measured."""
    journal = JournalReader(journal_path(settings))
    for app in settings.apps:
        latest = journal.latest(app)
        sentence = cold_start(settings.for_app(app), latest.snapshot.start_delay if latest else None)
        if sentence:
            yield f"{app}: {sentence}"


def _rows(settings: Settings) -> Iterator[tuple[str, Any, str, str]]:
    """Yield (name, value, description, variable) of each setting, those in tables last."""
    for name, setting in SETTINGS.items():
        if name not in KINDS:
            yield name, _value(settings, name), setting.text, variable(name)
    for kind, entry, name, default, setting in table_settings():
        value = getattr(settings, kind).get(entry, {}).get(name, default)
        yield f"{kind}.{entry}.{name}", value, setting.text, table_variable(kind, entry, name)


def _value(settings: Settings, name: str) -> Any:
    """Return a setting's value, or the default that an empty value stands for."""
    if name == "state_dir":
        return str(settings.state_path)
    if name == "destination":
        return settings.destination_path
    if SETTINGS[name].secret and getattr(settings, name):
        return "***"
    return getattr(settings, name)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return safe(value if isinstance(value, str) else msgspec.json.encode(value).decode()) or '""'
