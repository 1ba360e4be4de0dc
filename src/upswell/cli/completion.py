"""What the shell completes: applications, policies, fleets, handlers, names of settings.

Click makes the shell's part (`_UPSWELL_COMPLETE=bash_source upswell`; zsh_source, fish_source). Nothing is
asked over the network, and a settings file with an error completes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from upswell.errors import UpswellError
from upswell.settings import SETTINGS, Settings, load
from upswell.settings.setting import choices, hints
from upswell.settings.tables import KINDS, registry, table_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


_REGISTERED = {"policy": "policies", "fleet": "fleets", "handler": "handlers"}
"""Setting -> the kind of registry whose names it takes."""


def complete_apps(ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the applications of the settings."""
    try:
        settings, _ = load(file=ctx.params.get("config"))
    except UpswellError:
        return []
    return _items(settings.apps, begun)


def complete_assignments(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return `NAME=` of each setting, and `NAME=VALUE` where the values are known."""
    name, is_begun, _ = begun.partition("=")
    if is_begun:
        return _items((f"{name}={value}" for value in _values(name)), begun)
    names = [name for name in SETTINGS if name not in KINDS and name not in ("apps", "broker_url")]
    tables = [f"{kind}.{entry}.{name}" for kind, entry, name, *_ in table_settings()]
    return _items((f"{name}=" for name in (*names, *tables)), begun)


def complete_files(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Have the shell complete names of files and folders."""
    return [CompletionItem(begun, type="file")]


def completing(setting: str) -> Complete:
    """Return what completes the values of a setting."""
    if SETTINGS[setting].path:
        return complete_files
    return lambda _ctx, _param, begun: _items(_values(setting), begun)


def _values(setting: str) -> Iterable[str]:
    if setting in _REGISTERED:
        return registry(_REGISTERED[setting]).names()
    return choices(hints(Settings)[setting]) if setting in SETTINGS else ()


def _items(values: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(value) for value in values if value.startswith(begun)]
