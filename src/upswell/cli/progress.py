"""A progress bar on standard error, shown only on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    OnProgress = Callable[[float], None]
    """Called with the finished share, from 0 to 1."""


@contextmanager
def progress(what: str, *, known: bool = True) -> Generator[OnProgress]:
    """Show a progress bar; without a `known` length, only that work is going on."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for terminals
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0 if known else None)
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def transfer(total: int | None) -> Generator[Callable[[int], None]]:
    """Show bytes, rate and time left; give what takes the bytes that are moved, called from threads."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich import progress as bars  # noqa: PLC0415 - for who looks on
    from rich.console import Console  # noqa: PLC0415 - as above

    with bars.Progress(
        bars.BarColumn(),
        bars.DownloadColumn(binary_units=True),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("upload", total=total)
        yield lambda count: bar.advance(task, count)
