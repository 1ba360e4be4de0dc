"""Secrets as files: the folder that `UPSWELL_SECRETS` names, one file for each variable.

What comes in: a folder that a platform has mounted from memory (Docker, Swarm and Kubernetes secrets). What
goes out: variables in this process's environment, where everything else looks for them; another process's
`inspect` does not show them. It must not know which variables there are.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from upswell.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

SECRETS_VARIABLE = "UPSWELL_SECRETS"
FROM_INPUT = "-"
"""In place of a folder: the process's input holds them, a JSON object. So a Docker engine on another machine
is handed them."""

MAX_SECRET_BYTES = 1_000_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def load_secret_files(environment: MutableMapping[str, str] | None = None) -> None:
    """Set the variables that the files in the folder `UPSWELL_SECRETS` hold; one that is set already stays.

    A file's name is the variable's, its content the value, but for one line end. Other names are let pass:
    Kubernetes keeps folders such as `..data` there.

    Raises:
        SettingsError: the folder or a file in it cannot be read. The message names it, never its content.
    """
    environment = os.environ if environment is None else environment
    folder = environment.get(SECRETS_VARIABLE)
    if not folder:
        return
    if folder == FROM_INPUT:
        for name, value in _read_input(sys.stdin.buffer.read(MAX_SECRET_BYTES)).items():
            environment.setdefault(name, value)
        return
    try:
        paths = sorted(path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise SettingsError(
            f"{SECRETS_VARIABLE} must be a folder with a file for each secret, "
            f"got {folder!r}: {error.strerror}"
        ) from error
    for path in paths:
        if path.name not in environment and path.is_file():
            environment[path.name] = _read(path)


def _read_input(content: bytes) -> dict[str, str]:
    try:
        found = msgspec.json.decode(content, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{SECRETS_VARIABLE}={FROM_INPUT}: the input must be a JSON object of texts by variable"
        ) from error
    return {name: value for name, value in found.items() if _NAME.fullmatch(name) and "\0" not in value}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read the secret {path}: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES or b"\0" in content:
        raise SettingsError(f"a secret must be a text of at most {MAX_SECRET_BYTES} bytes: {path}")
    text = content.decode("utf-8", "surrogateescape")
    return text.removesuffix("\n").removesuffix("\r")
