"""Credentials of an image's registry, from the Docker client's own `config.json`, for a Swarm to pull with.

In: an image's name. Out: registry and credentials, passed on to the engine and kept nowhere. Credential
helpers are not asked: `docker login` on the scaler's machine without one, or the nodes' own login, will do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_HUB = "https://index.docker.io/v1/"


def registry_of(image: str) -> str:
    """Return the registry of an image, as `docker login` names it.

    >>> registry_of("registry.example.org:5000/team/worker:1"), registry_of("team/worker")
    ('registry.example.org:5000', 'https://index.docker.io/v1/')
    """
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else _HUB


def registry_auth(image: str) -> dict[str, str]:
    """Return `registry` and `auth` for an image, as the engine takes them; empty: there are none."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path("~/.docker").expanduser())
    registry = registry_of(image)
    try:
        auth = json.loads((Path(folder) / "config.json").read_text("utf-8"))["auths"][registry]["auth"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {"registry": registry, "auth": auth} if auth else {}
