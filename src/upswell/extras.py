"""What of Upswell is not installed, and the command that adds it.

A package index may not have Upswell, or have another version. So the command names what this one was
installed from, as installers record it (`direct_url.json`, PEP 610).
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

EXTRAS = {
    "cloud": "S3, Google Cloud Storage, Azure",
    "dashboard": "upswell dashboard",
    "fast": "rehearsal many times as fast",
    "docker": "--fleet docker, --fleet swarm",
    "docker-ssh": "a Docker engine over SSH",
    "keda": "KEDA's external scaler",
    "kubernetes": "--fleet kubernetes",
    "metrics": "--metrics",
    "otel": "traces",
    "plot": "--plot",
    "rules": "rules in CEL",
}
"""Extra -> what it is for: those that a user of the commands may want."""

_OPTIONAL = re.compile(r"""(?P<package>[\w.-]+).*;.*extra == ['"](?P<extra>[\w-]+)['"]""")


def needs(what: str, extra: str, error: ImportError) -> str:
    """Return the message for something that needs an extra which is not installed."""
    return f"{what} needs the extra {extra} ({error}): {how_to_add(extra)}"


def not_installed() -> list[str]:
    """Return the extras of which a package is missing."""
    optional = [match for match in map(_OPTIONAL.match, distribution("upswell").requires or []) if match]
    without = {match["extra"] for match in optional if not _is_installed(match["package"])}
    return [extra for extra in EXTRAS if extra in without]


def how_to_add(*extras: str) -> str:
    """Return the command that adds extras of Upswell, or where to read about it."""
    what = _requirement(",".join(extras))
    if what is None:
        return 'see "Install" in Upswell\'s README.md'
    if (Path(sys.prefix) / "uv-receipt.toml").exists():  # made by `uv tool install`
        return f"uv tool install --force {what}"
    if importlib.util.find_spec("pip") is None:  # made by `uv venv` or `uv sync`
        return f"uv pip install --python {shlex.quote(sys.prefix)} {what}"
    return f"pip install {what}"


def _requirement(extras: str) -> str | None:
    """Return what to install; None where the place that this Upswell came from is not known, or gone."""
    try:
        text = distribution("upswell").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    if text is None:  # from an index, which has it
        return shlex.quote(f"upswell[{extras}]")
    record: dict[str, Any] = json.loads(text)
    url: str = record["url"]
    if url.startswith("file:"):
        path = unquote(urlsplit(url).path)
        editable = "-e " if record.get("dir_info", {}).get("editable") else ""
        return f"{editable}{shlex.quote(f'{path}[{extras}]')}" if Path(path).exists() else None
    if "vcs_info" in record:
        url = f"{record['vcs_info']['vcs']}+{url}@{record['vcs_info']['commit_id']}"
    return shlex.quote(f"upswell[{extras}] @ {url}")


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Print what is not installed, if anything, and the command that adds it."""
    missing = not_installed()
    if missing:
        named = ", ".join(f"{extra} ({EXTRAS[extra]})" for extra in missing)
        sys.stdout.write(f"not installed: {named}; to add: {how_to_add(*missing)}\n")


if __name__ == "__main__":
    main()
