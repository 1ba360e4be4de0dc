"""What the fleet's requests look like on the wire, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import lightkube
import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User
from msgspec.structs import replace

from upswell.errors import FleetError, FleetFullError
from upswell.fleets.kubernetes.api import (
    RIGHTS,
    AlreadyThereError,
    ApiRefusedError,
    ConflictError,
    KubernetesApi,
    UnansweredError,
)
from upswell.fleets.kubernetes.fleet import KubernetesFleet
from upswell.fleets.kubernetes.pods import SeenPod
from upswell.fleets.kubernetes.settings import KubernetesSettings
from upswell.fleets.protocol import WorkerSpec
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POD = SeenPod(name="w1", uid="u1", worker_id="w1", app_id="a1", requested_at=0.0)
WORKER = {
    "metadata": {
        "name": "w1",
        "uid": "u1",
        "annotations": {"upswell/worker": "w1", "upswell/app": "a1"},
    }
}


def refusal(code: int, message: str) -> httpx2.Response:
    return httpx2.Response(
        code, json={"kind": "Status", "status": "Failure", "code": code, "message": message}
    )


class Server:
    """Answers each request with the next of its answers, and keeps the requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: httpx2.Response | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers = list(answers)
        config = KubeConfig.from_one(cluster=Cluster(server="http://api:8080"), user=User(token="t"))
        transport = httpx2.MockTransport(self._answer)
        client = lightkube.AsyncClient
        monkeypatch.setattr(
            lightkube, "AsyncClient", lambda **given: client(**{**given, "transport": transport})
        )
        monkeypatch.setattr(KubeConfig, "from_env", lambda: config)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def body(self) -> Any:
        """Return what the last request carried."""
        return json.loads(self.requests[-1].content)


def ask(question: Callable[[KubernetesApi], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        api = KubernetesApi(KubernetesSettings(namespace="ns"))
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(scenario())


def test_a_deletion_names_the_very_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, httpx2.Response(200, json={}))
    ask(lambda api: api.delete_pod(POD, grace_seconds=1))
    assert server.requests[0].method == "DELETE"
    assert server.requests[0].url.path == "/api/v1/namespaces/ns/pods/w1"
    assert server.body()["preconditions"] == {"uid": "u1"}
    assert server.body()["gracePeriodSeconds"] == 1


@pytest.mark.parametrize("code", [404, 409])
def test_a_pod_that_is_gone_or_another_of_its_name_is_left_alone(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server(monkeypatch, refusal(code, "no such pod"))
    ask(lambda api: api.delete_pod(POD))


def test_a_watch_follows_from_a_version_and_its_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"type": "ADDED", "object": WORKER},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}},
    ]
    server = Server(monkeypatch, httpx2.Response(200, text="\n".join(map(json.dumps, lines))))

    seen: list[tuple[str, str]] = []

    async def watch(api: KubernetesApi) -> None:
        async with api.watch_pods({"b": "2", "a": "1"}, "7", seconds=30.4) as events:
            async for event in events:
                seen.append((event.kind, event.pod.worker_id))  # noqa: PERF401 - it ends with an error

    with pytest.raises(ApiRefusedError, match="too old resource version") as raised:
        ask(watch)
    assert raised.value.code == 410
    assert seen == [("ADDED", "w1")]
    assert dict(server.requests[0].url.params) == {
        "labelSelector": "a=1,b=2",
        "resourceVersion": "7",
        "timeoutSeconds": "30",
        "watch": "true",
    }


def test_a_watch_that_is_refused_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, refusal(403, 'User "x" cannot watch resource "pods"'))

    async def watch(api: KubernetesApi) -> None:
        async with api.watch_pods({}, "7", seconds=1.0):
            pass

    with pytest.raises(FleetError, match=r"refuses to watch pods \(see docs/deploy/kubernetes.md, Rights\)"):
        ask(watch)


def test_a_log_is_asked_for_since_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, httpx2.Response(200, text="2026-11-26T09:00:00.5Z hello\n"))
    asked = ask(lambda api: api.read_log("w1", "worker", since="2026-11-26T09:00:00Z"))
    assert asked == ["2026-11-26T09:00:00.5Z hello"]
    assert server.requests[0].url.path == "/api/v1/namespaces/ns/pods/w1/log"
    assert server.requests[0].url.params["sinceTime"] == "2026-11-26T09:00:00Z"


@pytest.mark.parametrize("code", [400, 404])
def test_a_container_that_has_not_started_has_no_lines(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, refusal(code, "container is waiting to start"))
    assert ask(lambda api: api.read_log("w1", "worker")) == []


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (refusal(403, 'pods "w1" is forbidden: exceeded quota: q, used: pods=2'), FleetFullError, "quota"),
        (refusal(403, 'User "x" cannot create resource "pods"'), ApiRefusedError, "Rights"),
        (
            refusal(403, "violates PodSecurity restricted"),
            ApiRefusedError,
            "to create a pod: violates",
        ),
        (
            refusal(422, "spec.containers[0].image: Required"),
            ApiRefusedError,
            "to create a pod: spec",
        ),
        (refusal(401, "Unauthorized"), ApiRefusedError, "refuses to create a pod: Unauthorized"),
        (refusal(409, 'pods "w1" already exists'), AlreadyThereError, "already exists"),
        (refusal(409, "Operation cannot be fulfilled on quotas"), ConflictError, "cannot be fulfilled"),
        (refusal(500, "etcd leader changed"), ApiRefusedError, "cannot create a pod: etcd leader changed"),
        (httpx2.ConnectError("refused"), UnansweredError, "cannot reach the Kubernetes API server"),
        (httpx2.ReadTimeout(""), UnansweredError, "ReadTimeout"),
        (httpx2.Response(503, text="<html>"), ApiRefusedError, "503"),
    ],
)
def test_a_refusal_says_what_it_means(
    answer: httpx2.Response | Exception,
    error: type[FleetError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Server(monkeypatch, answer)
    with pytest.raises(error, match=message) as raised:
        ask(lambda api: api.create_pod({"metadata": {"name": "w1"}}))
    assert type(raised.value) is error


def spec() -> WorkerSpec:
    return WorkerSpec(
        worker_id="w1", app_id="a1", standby=False, requested_at=0.0, environment={"AMQPURL": "x"}
    )


def start(monkeypatch: pytest.MonkeyPatch, *answers: httpx2.Response | Exception) -> Server:
    """Start a worker whose owner and Secret are applied first."""
    applied = {"metadata": {"name": "upswell-a1", "uid": "o1"}}
    server = Server(monkeypatch, *(httpx2.Response(200, json=applied) for _ in range(2)), *answers)

    async def scenario() -> None:
        fleet = KubernetesFleet(
            Settings(
                state_dir="/var/lib/upswell",
                destination="s3://b",
                broker_url="amqp://h",
                fleets={"kubernetes": {"namespace": "ns"}},
            )
        )
        try:
            await fleet.start(spec())
        finally:
            await fleet.close()

    asyncio.run(scenario())
    return server


def test_a_creation_whose_answer_was_lost_is_asked_for_again_under_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": [WORKER]})
    server = start(monkeypatch, httpx2.ReadTimeout(""), refusal(409, "already exists"), found)
    names = [json.loads(request.content)["metadata"]["name"] for request in server.requests[2:4]]
    assert names == ["w1", "w1"]
    assert server.requests[4].url.params["fieldSelector"] == "metadata.name=w1"


def test_a_pod_of_somebody_else_is_not_taken_for_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    none = httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": []})
    with pytest.raises(FleetError, match="not of installation upswell is in the way"):
        start(monkeypatch, refusal(409, "already exists"), none)


def test_the_secret_holds_what_the_pod_must_not_show_and_goes_with_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start(monkeypatch, httpx2.Response(201, json=WORKER))
    owner, secret, pod = (json.loads(request.content) for request in server.requests)
    assert owner["kind"] == "ConfigMap"
    assert secret["data"] == {"AMQPURL": "eA=="}
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "o1"
    assert "AMQPURL" not in json.dumps(pod)
    assert pod["metadata"]["ownerReferences"][0]["controller"] is True


def test_rights_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        httpx2.Response(201, json={"spec": {}, "status": {"allowed": number != 3}})
        for number in range(len(RIGHTS))
    ]
    server = Server(monkeypatch, *answers)
    assert len(ask(lambda api: api.refused_rights())) == 1
    asked = [json.loads(request.content)["spec"]["resourceAttributes"] for request in server.requests]
    assert {(each["verb"], each["resource"], each.get("subresource")) for each in asked} >= {
        ("get", "pods", "log"),
        ("create", "pods", None),
    }


def test_a_context_that_is_not_in_the_kubeconfig_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    api = KubernetesApi(replace(KubernetesSettings(), context="other"))
    with pytest.raises(FleetError, match="/nowhere not found"):
        asyncio.run(api.version())
