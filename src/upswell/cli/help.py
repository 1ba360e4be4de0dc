"""How `--help` is laid out, and what a misspelt command is answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTIONS = {
    "Objective and policy": ("slo", "policy", "rules_file", "decision_interval", "window"),
    "Number of workers": (
        "min_workers", "max_workers", "standby_workers", "max_workers_total", "tolerance",
        "stabilization_window", "max_scale_out_factor", "max_scale_in_share", "bottleneck_check",
        "start_cost", "price_per_worker_hour",
    ),
    "Workers": (
        "fleet", "start_timeout", "handler", "slots", "upload_rate_limit", "app_rate_limit",
        "upload_timeout", "drain_timeout", "delivery_limit", "retry_backoff",
    ),
    "Sources and destination": (
        "source_roots", "source_origins", "source_networks", "destination", "on_conflict",
    ),
    "State, queues, log, metrics and traces": (
        "state_dir", "upload_queue", "report_queue", "log_level", "log_format", "metrics", "traces",
    ),
}  # fmt: skip
"""Heading -> settings, in the order of `--help`."""


class SettingsCommand(click.Command):
    """A command with many settings: `--help` shows its own options first, then the settings in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section after the other."""
        for heading, options in self._sections(ctx):
            records = [record for option in options if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def _sections(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Parameter]]]:
        by_setting = {setting: option for option in self.get_params(ctx) if (setting := setting_of(option))}
        yield "Options", [option for option in self.get_params(ctx) if setting_of(option) is None]
        for heading, settings in SECTIONS.items():
            yield heading, [by_setting[setting] for setting in settings if setting in by_setting]


class CommandGroup(click.Group):
    """A group that answers a misspelt command with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from upswell.registry import nearest  # noqa: PLC0415 - `--help` starts without it

            hint = nearest(name, self.list_commands(ctx)) or f"; see {ctx.command_path} --help"
            ctx.fail(f"{ctx.command_path} has no command {name!r}{hint}")
        return super().resolve_command(ctx, args)


PREFIX = "setting_"
"""What precedes a setting's name in the name of its option's parameter."""


def setting_of(option: click.Parameter) -> str | None:
    """Return the setting that an option sets; None for a command's own option."""
    name: str = option.name or ""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None
