"""The command line, in folders by purpose; the only place where the parts are wired together.

`main` is the command `upswell`. A command's file is imported only when the command is called, so that
`--help` and `upswell worker` start quickly.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import Any, NoReturn, cast

import click

from upswell import __version__
from upswell.cli.help import CommandGroup
from upswell.safe import safe

COMMANDS = {
    "demo": ("demo", "Watch real files being uploaded while workers start and stop."),
    "publish": ("data", "Publish upload requests for directories, lists or single files."),
    "upload": ("data", "Upload one file in the foreground, without a broker."),
    "worker": ("run", "Run one upload worker."),
    "monitor": ("run", "Monitor response times and decide how many workers to run."),
    "scaler": ("run", "Start and drain workers as the monitor decides."),
    "keda": ("run", "Give KEDA the number of workers: its external scaler."),
    "up": ("run", "Run monitor, scaler and workers in one process."),
    "status": ("look", "Show queues, response times, workers and decisions."),
    "top": ("look", "Watch applications in the whole terminal, with charts."),
    "dashboard": ("look", "Serve the live page: see, ask what if, act."),
    "workers": ("operate", "Show each worker and its uploads in hand."),
    "logs": ("operate", "Print what the workers print."),
    "scale": ("operate", "Set an application's workers by hand."),
    "pause": ("operate", "Let an application consume nothing and keep everything."),
    "resume": ("operate", "Let an application's policy decide again."),
    "restart": ("operate", "Replace workers by new ones, never fewer than wanted."),
    "down": ("operate", "Drain all workers, then stop scaler and monitor."),
    "compare": ("lab", "Simulate every autoscaler on the same uploads and compare them."),
    "simulate": ("lab", "Simulate one policy and show its decisions."),
    "replay": ("lab", "Simulate another policy or objective on recorded traffic."),
    "find": ("look", "Find an upload: queued, running, stored or dead, and why."),
    "report": ("look", "Report whether the target was held, the cost and failures."),
    "explain": ("look", "Explain a recorded decision: steps, inputs, rejected options."),
    "dead": ("data", "List, show, retry or purge dead-lettered requests."),
    "purge": ("data", "Delete all queued uploads of an application."),
    "cancel": ("data", "Delete queued uploads by their ids."),
    "config": ("look", "Show each setting, its value and where it came from."),
    "doctor": ("look", "Check broker, destinations, fleet and clock; say what to fix."),
}
"""Command -> its folder and its summary, in the order of `--help`.

`cli/{folder}/{command}.py` defines the click command `command`.
"""


class _LazyGroup(CommandGroup):
    """Imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        folder, _ = COMMANDS[cmd_name]
        return cast("click.Command", importlib.import_module(f"upswell.cli.{folder}.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def upswell() -> None:
    """Upload workers that scale with the load.

    Set a response-time objective ("95% < 30s"); Upswell meets it with as few workers as possible.
    Without AMQPURL everything runs on this machine, with nothing else to install: try "upswell demo".
    """
    if os.environ.get("UPSWELL_SECRETS"):
        from upswell.settings.secret_files import load_secret_files  # noqa: PLC0415 - few commands have any

        load_secret_files()


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command; exit with 0, with 1 and one line on standard error on failure, or 2 on wrong usage."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] - a file name may not be valid text
    try:
        status: Any = upswell.main(args=arguments, prog_name="upswell", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        status = 2
    except click.UsageError as error:
        usage = f"{error.ctx.get_usage()}\n" if error.ctx else ""
        _fail(error.format_message(), status=2, before=usage)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", status=130)
    except BrokenPipeError:  # the reader of our output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from upswell.errors import UpswellError  # noqa: PLC0415 - only needed on failure

        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # most often our output's disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _fail(str(error), status=1)
        if isinstance(error, UnicodeEncodeError):  # an argument that is no text, where only text can be sent
            _fail(f"text must be UTF-8, got {error.object[:100]!a}", status=1)
        if not isinstance(error, UpswellError):
            raise
        _fail(str(error), status=1)
    sys.exit(status if isinstance(status, int) else 0)


def _open_closed_streams() -> None:
    """Have all three standard streams: a supervisor may have closed one, and Python then has None for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is that of the closed one; else the next file opened would get it.
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode))  # noqa: SIM115, PTH123 - for ever


def _fail(message: str, *, status: int, before: str = "") -> NoReturn:
    """Print one line, without secrets or terminal control characters, and exit."""
    with contextlib.suppress(OSError):
        click.echo(f"{before}error: {safe(message)}", err=True)
    sys.exit(status)
