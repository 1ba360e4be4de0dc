"""Credentials of an image's registry, from the Docker client's own `config.json`, for a Swarm to pull with.

In: an image's name. Out: registry and credentials, passed on to the engine and kept nowhere. Credential
helpers are not asked: `docker login` on the scaler's machine without one, or the nodes' own login, will do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_HUB = "https://index.docker.io/v1/"


def registry_of(image: str) -> str:
    """Return the registry of an image, as `docker login` names it.

    >>> registry_of("registry.example.org:5000/team/worker:1"), registry_of("team/worker")
    ('registry.example.org:5000', 'https://index.docker.io/v1/')
    """
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else _HUB


def registry_auth(image: str) -> tuple[str, dict[str, Any]] | None:
    """Return the registry and the credentials for an image; None: there are none."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path("~/.docker").expanduser())
    try:
        found: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        entry = found.get("auths", {}).get(registry_of(image))
    except (OSError, ValueError, AttributeError):
        return None
    return (registry_of(image), {"auth": entry["auth"]}) if entry and entry.get("auth") else None
