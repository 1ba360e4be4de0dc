"""All that the fleet asks the API server. The only module that imports the client (lightkube).

In: manifests, names. Out: pods as `SeenPod`, ids, lines of logs, errors of our own. It knows neither workers'
states nor when to ask.

Three of lightkube's private parts are used, for what it does not offer: a deletion with a precondition, a
log since a time, and a watch that ends when the server ends it. tests/unit/fleets/test_kubernetes_api.py
fails where they change.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.request import getproxies

import httpx2
import lightkube
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core import decoders as _decoders
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.core.internal_resources import core_v1
from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
from lightkube.resources.authorization_v1 import SelfSubjectAccessReview
from lightkube.resources.core_v1 import ConfigMap as _ConfigMap
from lightkube.resources.core_v1 import Pod as _Pod
from lightkube.resources.core_v1 import Secret as _Secret
from msgspec import Struct

from upswell.errors import FleetError, FleetFullError
from upswell.fleets.kubernetes.pods import SeenPod, see_pod
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping

    from upswell.fleets.kubernetes.settings import KubernetesSettings
    from upswell.fleets.kubernetes.template import Tree

# The models take dictionaries without types: `Any` from here on.
ConfigMap, Pod, Secret, decoders = (
    cast("Any", _ConfigMap),
    cast("Any", _Pod),
    cast("Any", _Secret),
    cast("Any", _decoders),
)

ANSWER_SECONDS = 15.0
"""How long the API server may take to answer anything but a watch."""

FIELD_MANAGER = "upswell"
_GONE, _THERE, _UNAUTHORIZED, _REFUSED, _INVALID = 404, 409, 401, 403, 422
_NOT_STARTED = 400
_FULL = "exceeded quota"

_CLIENT_ERRORS = (httpx2.HTTPError, ConfigError, ssl.SSLError, OSError, ValueError, KeyError, AssertionError)
"""What the client raises; the last three for kubeconfigs that lack something."""

RIGHTS = (
    ("create", "pods"),
    ("delete", "pods"),
    ("list", "pods"),
    ("watch", "pods"),
    ("get", "pods/log"),
    ("create", "configmaps"),
    ("patch", "configmaps"),
    ("create", "secrets"),
    ("patch", "secrets"),
)
"""What the scaler's account must be allowed in the workers' namespace, and nothing else."""


class ApiRefusedError(FleetError):
    """The API server said no, with this status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class AlreadyThereError(ApiRefusedError):
    """A pod of that name exists."""


class ConflictError(ApiRefusedError):
    """Somebody else changed the same thing at once, a quota's count for one: to be asked again."""


class UnansweredError(FleetError):
    """The API server did not answer: whether it did what it was asked is not known."""


class WatchEvent(Struct, frozen=True):
    """A change of a pod: `kind` is ADDED, MODIFIED or DELETED; `pod` is what it is now, or was last."""

    kind: str
    pod: SeenPod


class KubernetesApi:
    """One namespace of one cluster; credentials are those of the pod it runs in, else of the kubeconfig."""

    def __init__(self, chosen: KubernetesSettings) -> None:
        self._chosen = chosen
        self._client: Any = None
        self.calls: Counter[str] = Counter()
        """Requests made until now, by verb and resource; a watch counts once."""

    @property
    def namespace(self) -> str:
        """The workers' namespace."""
        with _translated("read the credentials"):
            return self._chosen.namespace or str(self._open().namespace)

    async def create_pod(self, manifest: Tree) -> SeenPod:
        """Create a pod.

        Raises:
            AlreadyThereError: one of its name exists.
            FleetFullError: a quota does not allow it.
            FleetError: it is refused, or the API server does not answer.
        """
        self.calls["create pods"] += 1
        manifest["metadata"]["namespace"] = self.namespace
        with _translated("create a pod"):
            seen = see_pod(await self._open().create(Pod.from_dict(manifest)))
        if seen is None:
            raise FleetError("the API server must return the pod that it made, got another")
        return seen

    async def delete_pod(self, pod: SeenPod, *, grace_seconds: int | None = None) -> None:
        """Delete this very pod, not another of its name; no error if it is gone."""
        self.calls["delete pods"] += 1
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pod.uid},
            **({} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}),
        }
        with _none_if(_GONE, _THERE), _translated("delete a pod"):
            inner = self._open()._client  # noqa: SLF001 - see the module
            request = inner.prepare_request("delete", Pod, name=pod.name, namespace=self.namespace)
            request.data = body
            inner.raise_for_status(await inner.send(inner.build_adapter_request(request)))

    async def list_pods(self, labels: Mapping[str, str], *, name: str = "") -> tuple[list[SeenPod], str]:
        """Return the pods with these labels, and the version from which to watch on."""
        self.calls["list pods"] += 1
        with _translated("list pods"):
            listed = self._open().list(
                Pod,
                namespace=self.namespace,
                labels=dict(labels),
                fields={"metadata.name": name} if name else None,
                chunk_size=500,
            )
            pods = [pod async for pod in listed]
            return [seen for seen in map(see_pod, pods) if seen is not None], listed.resourceVersion

    @asynccontextmanager
    async def watch_pods(
        self, labels: Mapping[str, str], version: str, *, seconds: float
    ) -> AsyncGenerator[AsyncIterator[WatchEvent]]:
        """Watch from a version on, for some seconds at most; the server may end it sooner.

        Raises:
            FleetError: the server ends it with an error: the version is too old (410), say.
        """
        self.calls["watch pods"] += 1
        with _translated("watch pods"):
            inner = self._open()._client  # noqa: SLF001 - see the module
            request = inner.prepare_request(
                "list",
                Pod,
                namespace=self.namespace,
                watch=True,
                params={
                    "labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
                    "resourceVersion": version,
                    "timeoutSeconds": round(seconds),
                },
            )
            # Silence is no error here: who watches has a deadline of its own.
            request.timeout = httpx2.Timeout(ANSWER_SECONDS, read=None)
            answer = await inner.send(inner.build_adapter_request(request), stream=True)
            try:
                if answer.is_error:
                    await answer.aread()
                inner.raise_for_status(answer)
                yield _events(answer)
            finally:
                await answer.aclose()

    async def apply_config_map(self, name: str, labels: Mapping[str, str], data: Mapping[str, str]) -> str:
        """Have a ConfigMap with this content; return its uid."""
        self.calls["patch configmaps"] += 1
        applied = await self._apply(ConfigMap, {"name": name, "labels": dict(labels)}, data=dict(data))
        return str(applied.metadata.uid)

    async def apply_secret(
        self, name: str, labels: Mapping[str, str], data: Mapping[str, str], owner: Tree
    ) -> None:
        """Have a Secret with this content (base64 by name), owned by a ConfigMap."""
        self.calls["patch secrets"] += 1
        metadata = {"name": name, "labels": dict(labels), "ownerReferences": [owner]}
        await self._apply(Secret, metadata, type="Opaque", data=dict(data))

    async def read_log(
        self, pod: str, container: str, *, since: str | None = None, tail: int | None = None
    ) -> list[str]:
        """Return a container's lines with their times in front; none where there is no log."""
        self.calls["get pods/log"] += 1
        printed = b""
        with _none_if(_GONE, _NOT_STARTED), _translated("read a log"):
            inner = self._open()._client  # noqa: SLF001 - see the module
            params = {"container": container, "timestamps": True, "sinceTime": since, "tailLines": tail}
            request = inner.prepare_request(
                "get", core_v1.PodLog, name=pod, namespace=self.namespace, params=params
            )
            answer = await inner.send(inner.build_adapter_request(request))
            inner.raise_for_status(answer)
            printed = answer.content
        return printed.decode("utf-8", "replace").splitlines()

    async def refused_rights(self) -> list[str]:
        """Return which of `RIGHTS` these credentials lack."""
        answers = await asyncio.gather(*(self._may(verb, resource) for verb, resource in RIGHTS))
        return [
            f"{verb} {resource}"
            for (verb, resource), allowed in zip(RIGHTS, answers, strict=True)
            if not allowed
        ]

    async def version(self) -> str:
        """Return the API server's version, such as v1.34.1."""
        self.calls["get version"] += 1
        with _translated("ask for the version"):
            inner = self._open()._client  # noqa: SLF001 - see the module
            answer = await inner.send(inner._client.build_request("GET", "/version"))  # noqa: SLF001 - see the module
            inner.raise_for_status(answer)
            return str(answer.json()["gitVersion"])

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _apply(self, kind: Any, metadata: Tree, **content: Any) -> Any:
        with _translated(f"apply a {kind.__name__}"):
            return await self._open().apply(
                kind.from_dict({"metadata": {**metadata, "namespace": self.namespace}, **content}),
                field_manager=FIELD_MANAGER,
                force=True,
            )

    async def _may(self, verb: str, resource: str) -> bool:
        self.calls["create selfsubjectaccessreviews"] += 1
        kind, _, sub = resource.partition("/")
        asked = ResourceAttributes(
            namespace=self.namespace, verb=verb, resource=kind, subresource=sub or None, group=""
        )
        with _translated("ask for rights"):
            answer = await self._open().create(
                SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=asked))
            )
        return bool(answer.status and answer.status.allowed)

    def _open(self) -> Any:
        """Return the client; `Any`, for its overloads name more types than its types do."""
        if self._client is None:
            config = KubeConfig.from_env().get(self._chosen.context or None)
            self._client = lightkube.AsyncClient(
                config=config,
                timeout=httpx2.Timeout(ANSWER_SECONDS),
                field_manager=FIELD_MANAGER,
                transport=_transport(config),
            )
        return self._client


def _transport(config: Any) -> httpx2.AsyncHTTPTransport | None:
    """Return what verifies the API server's certificate as kubectl does.

    Python 3.13 also wants extensions in the cluster's own authority that older clusters have not. Behind a
    proxy, of which only the client's own transport knows, it stays so.
    """
    if not config.cluster.server.startswith("https:") or "https" in getproxies():
        return None
    context = verify_cluster(config.cluster, config.user, config.abs_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return httpx2.AsyncHTTPTransport(verify=context)


async def _events(answer: httpx2.Response) -> AsyncIterator[WatchEvent]:
    async for line in answer.aiter_lines():
        if not line:
            continue
        event = decoders.decode_watch_event(line.encode())
        if event.type == "ERROR":
            raise ApiError(status=decoders.decode_status(event.object))
        if event.type == "BOOKMARK":
            continue
        seen = see_pod(decoders.decode_object(event.object, Pod))
        if seen is not None:
            yield WatchEvent(event.type, seen)


@contextmanager
def _translated(what: str) -> Generator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except _CLIENT_ERRORS as error:
        raise _ours(what, error) from error


@contextmanager
def _none_if(*codes: int) -> Generator[None]:
    """Pass over an answer of these statuses: what was asked for is so already."""
    try:
        yield
    except ApiRefusedError as error:
        if error.code not in codes:
            raise


def _ours(what: str, error: Exception) -> FleetError:
    """Return the error of ours that says what a client's error means."""
    code = _code(error)
    message = safe(str(error))
    if code == _REFUSED and _FULL in message:
        return FleetFullError(f"the namespace's quota is used up: {message}")
    if code == _THERE:
        there = "already exists" in message
        return AlreadyThereError(message, code) if there else ConflictError(message, code)
    if code in (_UNAUTHORIZED, _REFUSED, _INVALID):
        lacks = code == _REFUSED and ("cannot" in message or message.endswith("forbidden: "))
        hint = " (see docs/deploy/kubernetes.md, Rights)" if lacks else ""
        return ApiRefusedError(f"the API server refuses to {what}{hint}: {message}", code)
    if code is not None:
        return ApiRefusedError(f"the API server cannot {what}: {message}", code)
    return UnansweredError(
        f"cannot reach the Kubernetes API server to {what} (KUBECONFIG, fleets.kubernetes.context): "
        f"{type(error).__name__}{': ' if message else ''}{message}"
    )


def _code(error: Exception) -> int | None:
    """Return an answer's status; None where there was no answer."""
    if isinstance(error, ApiError):
        return error.status.code
    return error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else None
