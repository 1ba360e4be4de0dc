"""Whether workers may read what is published, as far as the settings of this machine tell.

What comes in: settings, and what a person named. What goes out: warnings, or an error where no worker can
read anything. The workers decide; said here, it costs no dead letters.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from upswell.errors import UpswellError
from upswell.publisher.sources import LISTED, local_path
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upswell.settings import Settings


def check_readable(settings: Settings, arguments: Sequence[str]) -> list[str]:
    """Return a warning for each kind of arguments that lie where workers may not read.

    Raises:
        UpswellError: files are named, and workers may read none.
    """
    if settings.handler != "upload":  # what it reads, it alone knows
        return []
    folders = {
        argument: _folder_of(path) for argument in arguments if (path := local_path(argument)) is not None
    }
    if folders:
        _check_roots(settings, os.path.commonpath(folders.values()))
    roots = [Path(root).expanduser().resolve() for root in settings.source_roots]
    outside = [
        argument
        for argument, folder in folders.items()
        if not any(Path(folder).resolve().is_relative_to(root) for root in roots)
    ]
    foreign = [
        argument
        for argument in arguments
        if urlsplit(argument).scheme.lower() in LISTED
        and not argument.startswith(tuple(settings.source_stores))
    ]
    found = (
        ("source_roots", list(map(str, roots)), outside),
        ("source_stores", settings.source_stores, foreign),
    )
    return [_warning(setting, allowed, refused) for setting, allowed, refused in found if refused]


def check_source(settings: Settings, uri: str) -> None:
    """Raise an UpswellError where a URI names a file and workers may read no files at all."""
    if (path := local_path(uri)) is not None:
        _check_roots(settings, os.path.dirname(path))  # noqa: PTH120 - a name may be no text


def _check_roots(settings: Settings, folder: str) -> None:
    if settings.handler == "upload" and not settings.source_roots:
        raise UpswellError(
            "source_roots is empty, so workers may read no files; here and where the workers start: "
            f"export UPSWELL_SOURCE_ROOTS={shlex.quote(folder)}"
        )


def _folder_of(path: str) -> str:
    absolute = os.path.abspath(path)  # noqa: PTH100 - a name may be no text
    return absolute if os.path.isdir(absolute) else os.path.dirname(absolute)  # noqa: PTH112, PTH120 - as above


def _warning(setting: str, allowed: Sequence[str], refused: Sequence[str]) -> str:
    more = f" and {len(refused) - 1:,} more" if len(refused) > 1 else ""
    return (
        f"workers may not read {safe(refused[0])}{more}, which is not below {setting} "
        f"({', '.join(allowed) or 'empty'})"
    )
