"""The operator's pod template: a YAML file, merged over our defaults and under our own fields.

In: a file. Out: plain dictionaries, as Kubernetes writes a pod. Merged as `kubectl patch` does by default
(strategic merge): mappings by key, known lists by their elements' names, other lists replaced, null removes.
It knows no worker.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml

from upswell.errors import SettingsError

Tree = dict[str, Any]

MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists whose elements are merged by this key, as the API's own description of a pod says."""

_WHOLE = ("env", "volumes")
"""Lists whose elements are replaced whole: one with two values, or two sources, would be refused."""


def load_template(path: str) -> Tree:
    """Return what a template file holds; no file: nothing.

    Raises:
        SettingsError: it cannot be read, or is not a pod.
    """
    if not path:
        return {}
    file = Path(path).expanduser()
    try:
        found: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"fleets.kubernetes.pod_template cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} must be YAML: {' '.join(str(error).split())}") from error
    return checked_template(found, path)


def checked_template(found: object, path: str) -> Tree:
    """Return a template without its `kind`; SettingsError where it is no pod."""
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must be a mapping such as spec: {{...}}, got {type(found).__name__}")
    template = {str(key): value for key, value in cast("Tree", found).items()}
    kind = template.pop("kind", "Pod")
    template.pop("apiVersion", None)
    if kind not in ("Pod", "PodTemplate"):
        raise SettingsError(f"{path} must be of kind Pod, got {kind!r}")
    if kind == "PodTemplate":
        template = cast("Tree", template.get("template") or {})
    unknown = sorted(template.keys() - {"metadata", "spec"})
    if unknown:
        raise SettingsError(f"{path} must hold metadata and spec only, got {unknown[0]!r}")
    for name in ("metadata", "spec"):
        if not isinstance(template.get(name, {}), dict):
            raise SettingsError(f"{path} must have a mapping as its {name}")
    _check_names(cast("Tree", template.get("spec", {})), path)
    return template


def _check_names(spec: Tree, path: str) -> None:
    containers: Any = spec.get("containers", [])
    if not _all_have(containers, "name"):
        raise SettingsError(f"{path} must name each of its containers (the worker's is called worker)")
    if not _all_have(spec.get("volumes", []), "name"):
        raise SettingsError(f"{path} must name each of its volumes")
    for container in cast("list[Tree]", containers):
        if not _all_have(container.get("volumeMounts", []), "name", "mountPath"):
            raise SettingsError(f"{path} must have a name and a mountPath in each of its volumeMounts")


def _all_have(elements: Any, *keys: str) -> bool:
    """Return whether these are a list of mappings, each with these keys."""
    if not isinstance(elements, list):
        return False
    return all(
        isinstance(one, dict) and all(key in one for key in keys) for one in cast("list[Any]", elements)
    )


def merged(under: Tree, over: Tree) -> Tree:
    """Return `under` with `over` merged into it; neither is changed.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}})
    {'a': {'c': 2, 'd': 3}}
    """
    result = deepcopy(under)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            base = cast("Tree", below) if isinstance(below, dict) else {}
            result[key] = merged(base, cast("Tree", value))
        elif key in MERGE_KEYS and isinstance(value, list):
            result[key] = _merged_list(key, result.get(key), cast("list[Any]", value))
        else:
            result[key] = deepcopy(value)
    return result


def _merged_list(name: str, under: Any, over: list[Any]) -> list[Any]:
    key = MERGE_KEYS[name]
    result: list[Any] = list(cast("list[Any]", under)) if isinstance(under, list) else []
    for element in over:
        place = next((i for i, old in enumerate(result) if _same(old, element, key)), None)
        if place is None:
            result.append(deepcopy(element))
        else:
            result[place] = deepcopy(element) if name in _WHOLE else merged(result[place], element)
    return result


def _same(old: Any, new: Any, key: str) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    return key in old and cast("Tree", old)[key] == cast("Tree", new).get(key)


def mount_paths(spec: Tree, container: str) -> list[str]:
    """Return where a container of a pod's spec has volumes mounted that outlive the pod."""
    passing = {
        volume["name"] for volume in spec.get("volumes", []) if "emptyDir" in volume or "secret" in volume
    }
    return [
        mount["mountPath"]
        for found in spec.get("containers", [])
        if found["name"] == container
        for mount in found.get("volumeMounts", [])
        if mount["name"] not in passing
    ]
