"""What every fleet promises, and what the fleet `kubernetes` does besides, on a real Kubernetes."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.kubernetes_cluster import TOLD_OR_NOT
from support.tcp_proxy import TcpProxy
from upswell.errors import FleetError, SettingsError
from upswell.fleets.kubernetes.api import RIGHTS
from upswell.fleets.kubernetes.fleet import KubernetesFleet
from upswell.fleets.registry import check_fleet
from upswell.settings import Settings
from upswell.testing.fleets import (
    STAND_IN,
    FleetContract,
    FullPlatformContract,
    OpenFleet,
    spec,
    until,
    until_printed,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from support.kubernetes_cluster import KubernetesCluster
    from upswell.fleets.protocol import FleetWorker

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

TEMPLATE: dict[str, Any] = {
    "spec": {
        "hostNetwork": True,
        "containers": [
            {
                "name": "worker",
                "command": ["python3", "/stand-in/stand_in_worker.py"],
                "volumeMounts": [{"name": "stand-in", "mountPath": "/stand-in"}],
            }
        ],
        "volumes": [{"name": "stand-in", "configMap": {"name": "stand-in"}}],
    }
}
"""A pod template with which workers run the stand-in; JSON is YAML."""


@pytest.fixture
def settings(kubernetes: KubernetesCluster, namespace: str, tmp_path: Path) -> Settings:
    """Settings of a fleet whose workers run the stand-in, in a namespace of its own."""
    kubernetes.kubectl("--namespace", namespace, "create", "configmap", "stand-in", f"--from-file={STAND_IN}")
    return with_template(
        Settings(
            state_dir=str(tmp_path / "state"),
            broker_url="amqp://u:p@127.0.0.1",
            destination="s3://bucket",
            fleet="kubernetes",
            apps={"a1": {}},
            fleets={"kubernetes": {"image": kubernetes.worker_image(), "namespace": namespace}},
        ),
        tmp_path,
        TEMPLATE,
    )


def with_template(settings: Settings, folder: Path, template: dict[str, Any]) -> Settings:
    path = folder / f"template-{time.monotonic_ns()}.yaml"
    path.write_text(json.dumps(template))
    own = {**settings.fleets["kubernetes"], "pod_template": str(path)}
    return replace(settings, fleets={"kubernetes": own})


def with_quota(kubernetes: KubernetesCluster, namespace: str, pods: int) -> None:
    """Let the namespace have no more pods than these; return when that holds."""
    kubernetes.kubectl("--namespace", namespace, "create", "quota", "q", f"--hard=pods={pods}")
    deadline = time.monotonic() + 60
    while "hard" not in kubernetes.get("--namespace", namespace, "quota", "q")["status"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def play(settings: Settings, story: Callable[[KubernetesFleet], Awaitable[None]]) -> KubernetesFleet:
    async def scenario() -> KubernetesFleet:
        fleet = KubernetesFleet(settings, watch_seconds=LONG)
        try:
            await story(fleet)
        finally:
            await fleet.close()
        return fleet

    return asyncio.run(scenario())


async def when(
    fleet: KubernetesFleet, condition: Callable[[list[FleetWorker]], bool], seconds: float = 120.0
) -> list[FleetWorker]:
    """Return the workers when they are so."""
    deadline = time.monotonic() + seconds
    while not condition(workers := await fleet.list()):
        assert time.monotonic() < deadline, workers
        await asyncio.sleep(0.05)
    return workers


LONG = 600.0
"""So that no watch ends within a test: who ends in the moment of a new list has no exit code."""


class TestKubernetesFleet(FleetContract):
    """The promises of every fleet."""

    signals_by_deleting = True

    @pytest.fixture
    def open_fleet(self, settings: Settings) -> OpenFleet:
        """Open the same fleet anew; its pods go with their namespace."""
        return lambda: KubernetesFleet(settings, watch_seconds=LONG)


class TestFullNamespace(FullPlatformContract):
    """A quota is a ceiling."""

    @pytest.fixture
    def open_full(self, settings: Settings, kubernetes: KubernetesCluster, namespace: str) -> OpenFleet:
        """Open a fleet whose namespace has room for one pod."""
        with_quota(kubernetes, namespace, 1)
        return lambda: KubernetesFleet(settings, watch_seconds=LONG)


def test_a_worker_costs_two_requests(settings: Settings) -> None:
    """One to create, one to delete; what an application's pods share, and following them, comes once."""

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.list()
        names = [f"w{number}" for number in range(5)]
        await asyncio.gather(*(fleet.start(spec(name, app_id="fails")) for name in names))
        ended = await when(fleet, lambda workers: [w.state for w in workers] == ["exited"] * 5)
        for worker in ended:
            await fleet.forget(worker.worker_id)
        await when(fleet, lambda workers: not workers)
        assert fleet.api.calls.pop("list pods") <= 8
        assert fleet.api.calls.pop("watch pods") <= 8
        assert fleet.api.calls == {
            "patch configmaps": 1, "patch secrets": 1, "create pods": 5, "delete pods": 5,
        }  # fmt: skip

    play(settings, story)


def test_a_reloaded_fleet_starts_pods_by_the_new_settings(
    settings: Settings, kubernetes: KubernetesCluster
) -> None:
    own = settings.fleets["kubernetes"]
    apps = {"a1": {"fleets": {"kubernetes": {"image": "photos:2"}}}}

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec("w1"))
        fleet.reload(replace(settings, apps=apps))
        await fleet.start(spec("w2"))

    play(settings, story)
    pods = [kubernetes.get("--namespace", own["namespace"], "pod", name) for name in ("w1", "w2")]
    images = [pod["spec"]["containers"][0]["image"] for pod in pods]
    assert images == [own["image"], "photos:2"]


def test_what_belongs_to_whom_stands_on_the_pod(settings: Settings, kubernetes: KubernetesCluster) -> None:
    """Another installation's scaler in the same namespace sees none of it."""
    own = settings.fleets["kubernetes"]
    other = replace(settings, fleets={"kubernetes": {**own, "installation": "other"}})

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec(standby=True))
        await fleet.start(spec(standby=True))  # asked for twice
        stranger = KubernetesFleet(other)
        assert await stranger.list() == []
        await stranger.drain("w1")
        await stranger.kill("w1")
        await stranger.close()
        assert [worker.state for worker in await fleet.list()] == ["running"]

    play(settings, story)
    pod = kubernetes.get("--namespace", own["namespace"], "pod", "w1")
    labels = pod["metadata"]["labels"]
    assert labels["upswell/installation"] == "upswell"
    assert labels["upswell/application"] == "a1"
    assert len(labels["upswell/settings"]) == 12
    assert "hunter2" not in json.dumps(pod)


def test_a_pod_that_admission_refuses_is_an_error_with_its_words(
    settings: Settings, kubernetes: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
    }
    kubernetes.kubectl("--namespace", namespace, "apply", "-f", "-", given=json.dumps(limits))

    async def story(fleet: KubernetesFleet) -> None:
        with pytest.raises(FleetError, match=r"refuses to create a pod.*memory"):
            await fleet.start(spec())

    large = {**TEMPLATE["spec"]["containers"][0], "resources": {"limits": {"memory": "2Gi"}}}
    play(with_template(settings, tmp_path, {"spec": {**TEMPLATE["spec"], "containers": [large]}}), story)


def test_a_pod_that_no_node_takes_is_pending_and_can_be_withdrawn(settings: Settings, tmp_path: Path) -> None:
    nowhere = {"spec": {**TEMPLATE["spec"], "nodeSelector": {"upswell-test": "nowhere"}}}

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec())
        (worker,) = await when(fleet, lambda workers: bool(workers[0].pending))
        assert worker.pending.startswith("Unschedulable: ")
        assert worker.state == "running"
        assert worker.node == ""
        await fleet.drain("w1")
        (worker,) = await when(fleet, lambda workers: workers[0].state == "exited")
        assert not worker.evicted
        await fleet.forget("w1")
        assert await fleet.list() == []

    play(with_template(settings, tmp_path, nowhere), story)


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [
        ("localhost/none:1", "Never", "ErrImageNeverPull"),
        ("127.0.0.1:9/none:1", "Always", "ErrImagePull|ImagePullBackOff"),
        ("Not A Name", "Always", "InvalidImageName"),
    ],
)
def test_a_worker_whose_image_cannot_be_had_has_failed_and_says_why(
    image: str, policy: str, reason: str, settings: Settings, tmp_path: Path
) -> None:
    container = {**TEMPLATE["spec"]["containers"][0], "imagePullPolicy": policy}
    changed = with_template(settings, tmp_path, {"spec": {**TEMPLATE["spec"], "containers": [container]}})
    own = {**changed.fleets["kubernetes"], "image": image}

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec())
        (worker,) = await when(fleet, lambda workers: workers[0].state == "exited")
        assert worker.exit_code is None
        assert not worker.evicted
        assert re.search(reason, await fleet.last_lines("w1"))
        await fleet.forget("w1")
        assert await fleet.list() == []

    play(replace(changed, fleets={"kubernetes": own}, start_timeout=1.0), story)


def test_the_worker_has_ended_though_a_sidecar_keeps_its_pod_running(
    settings: Settings, tmp_path: Path
) -> None:
    """A service mesh does so."""
    image = settings.fleets["kubernetes"]["image"]
    sidecar = {"name": "mesh", "image": image, "command": ["sleep", "3600"]}
    containers = [sidecar, *TEMPLATE["spec"]["containers"]]

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec(app_id="fails"))
        assert (await until(fleet, "w1", "exited")).exit_code == 3
        assert "cannot reach" in await until_printed(fleet, "w1", "cannot")
        await fleet.forget("w1")
        assert await fleet.list() == []

    play(with_template(settings, tmp_path, {"spec": {**TEMPLATE["spec"], "containers": containers}}), story)


def test_an_evicted_worker_finishes_and_did_not_crash(
    settings: Settings, kubernetes: KubernetesCluster, namespace: str
) -> None:
    """The eviction API, as a node's drain and autoscalers ask it; it is seen as it happens."""

    async def story(fleet: KubernetesFleet) -> None:
        changes: list[float] = []
        watching = asyncio.create_task(fleet.watch(lambda: changes.append(time.monotonic())))
        await fleet.start(spec())
        await until_printed(fleet, "w1", "started")
        node, before = (await fleet.list())[0].node, len(changes)
        assert node != ""
        kubernetes.evict(namespace, "w1")
        (worker,) = await when(fleet, lambda workers: workers[0].state == "exited")
        assert (worker.evicted, worker.node) == (True, node)
        assert worker.exit_code in TOLD_OR_NOT
        assert len(changes) > before
        await fleet.forget("w1")
        assert await fleet.list() == []
        watching.cancel()

    play(settings, story)


def test_secrets_are_files_follow_a_change_and_go_with_their_application(
    settings: Settings, kubernetes: KubernetesCluster, namespace: str
) -> None:
    def inside(worker_id: str) -> str:
        show = (
            "sh",
            "-c",
            "cat /run/upswell/secrets/AMQPURL; env; id -u; touch /x 2>&1; touch /tmp/x && echo yes",
        )
        return kubernetes.kubectl("--namespace", namespace, "exec", worker_id, "--", *show)

    async def story(fleet: KubernetesFleet) -> None:
        await fleet.start(spec("w1"))
        await until_printed(fleet, "w1", "started")
        seen = inside("w1")
        assert seen.startswith("amqp://user:hunter2@host/")
        assert seen.count("hunter2") == 1  # in no variable
        assert "UPSWELL_SECRETS=/run/upswell/secrets" in seen
        assert "\n10001\n" in seen
        assert "Read-only file system" in seen
        assert seen.endswith("yes\n")
        changed = replace(spec("w2"), environment={"AMQPURL": "amqp://user:hunter3@host/"})
        await fleet.start(changed)
        await until_printed(fleet, "w2", "started")
        assert inside("w2").startswith("amqp://user:hunter3@host/")
        # Who uninstalls deletes the ConfigMap: the rest is collected, and not taken for crashes.
        kubernetes.kubectl("--namespace", namespace, "delete", "configmap", "upswell-a1", "--wait=false")
        ended = await when(fleet, lambda workers: [w.state for w in workers] == ["exited"] * 2)
        assert all(worker.evicted for worker in ended)
        assert {worker.exit_code for worker in ended} <= TOLD_OR_NOT
        deadline = time.monotonic() + 60
        while "upswell-a1" in kubernetes.kubectl("--namespace", namespace, "get", "secrets"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        # A worker that is wanted after all gets a new owner.
        await fleet.start(spec("w3"))
        await until_printed(fleet, "w3", "started")

    play(settings, story)


def limited_kubeconfig(kubernetes: KubernetesCluster, namespace: str, folder: Path, account: str) -> Path:
    """Return a kubeconfig with which an account of the namespace asks, its token in a file."""
    token = folder / "token"
    token.write_text(kubernetes.kubectl("--namespace", namespace, "create", "token", account))
    given = kubernetes.kubectl("config", "view", "--raw", "--minify", "--output", "json")
    config = {**json.loads(given), "users": [{"name": "u", "user": {"tokenFile": str(token)}}]}
    config["contexts"] = [
        {"name": c["name"], "context": {**c["context"], "user": "u"}} for c in config["contexts"]
    ]
    path = folder / f"{account}.kubeconfig"
    path.write_text(json.dumps(config))
    return path


def allow(
    kubernetes: KubernetesCluster, namespace: str, rights: Collection[tuple[str, str]], account: str
) -> None:
    """Give an account, which is bound to its role, these rights and no others; return when it has them."""
    rules = [{"apiGroups": [""], "resources": [what], "verbs": [verb]} for verb, what in rights]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": account}}
    kubernetes.kubectl(
        "--namespace", namespace, "apply", "-f", "-", given=json.dumps({**role, "rules": rules})
    )
    deadline = time.monotonic() + 60
    while (held := rights_of(kubernetes, namespace, account) & set(RIGHTS)) != set(rights):
        assert time.monotonic() < deadline, held
        time.sleep(0.1)


def rights_of(kubernetes: KubernetesCluster, namespace: str, account: str) -> set[tuple[str, str]]:
    """Return what the API server lets an account do: it hears of a changed role a moment later."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    told = kubernetes.kubectl(
        "create", "--raw", path, "-f", "-", f"--as=system:serviceaccount:{namespace}:{account}",
        given=json.dumps({**review, "spec": {"namespace": namespace}}),
    )  # fmt: skip
    rules = json.loads(told)["status"]["resourceRules"]
    return {(verb, what) for rule in rules for verb in rule["verbs"] for what in rule.get("resources", ())}


BREAKS = {
    ("create", "pods"): "create a pod",
    ("delete", "pods"): "delete a pod",
    ("list", "pods"): "list pods",
    ("watch", "pods"): "",  # changes are seen by lists alone
    ("get", "pods/log"): "read a log",
    ("create", "configmaps"): "apply a ConfigMap",
    ("patch", "configmaps"): "apply a ConfigMap",
    ("create", "secrets"): "apply a Secret",
    ("patch", "secrets"): "apply a Secret",
}
"""What each right is for: without it the fleet cannot do this."""


def test_each_right_is_needed_and_doctor_names_the_one_that_is_missing(
    settings: Settings, kubernetes: KubernetesCluster, namespace: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert set(BREAKS) == set(RIGHTS)
    kubernetes.kubectl("--namespace", namespace, "create", "serviceaccount", "scaler")
    kubernetes.kubectl(
        "--namespace", namespace, "create", "rolebinding", "scaler", "--role=scaler",
        f"--serviceaccount={namespace}:scaler",
    )  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", str(limited_kubeconfig(kubernetes, namespace, tmp_path, "scaler")))

    async def use(fleet: KubernetesFleet, app_id: str) -> str:
        """Do all that a fleet does; return what it cannot."""
        name = app_id.replace("_", "-")
        try:
            await fleet.start(spec(name, app_id=app_id))
            assert await fleet.list() != []
            await fleet.read_log(name)
            await fleet.kill(name)
        except FleetError as error:
            return str(error)
        return ""

    async def scenario() -> None:
        for number, right in enumerate([None, *RIGHTS]):
            allow(kubernetes, namespace, [one for one in RIGHTS if one != right], "scaler")
            fleet = KubernetesFleet(settings)
            failure = await use(fleet, f"a{number}")
            await fleet.close()
            if right is None:
                assert failure == ""
                assert f"namespace {namespace}" in await check_fleet(settings)
                continue
            if BREAKS[right]:
                assert f"refuses to {BREAKS[right]} (see docs/deploy/kubernetes.md, Rights)" in failure, right
            with pytest.raises(FleetError, match=r"Rights|refuses to list"):
                await check_fleet(settings)

    asyncio.run(scenario())


def test_a_token_that_was_rotated_is_read_again(
    settings: Settings, kubernetes: KubernetesCluster, namespace: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    kubernetes.kubectl("--namespace", namespace, "create", "serviceaccount", "scaler")
    kubernetes.kubectl(
        "--namespace", namespace, "create", "rolebinding", "scaler", "--role=scaler",
        f"--serviceaccount={namespace}:scaler",
    )  # fmt: skip
    allow(kubernetes, namespace, RIGHTS, "scaler")
    monkeypatch.setenv("KUBECONFIG", str(limited_kubeconfig(kubernetes, namespace, tmp_path, "scaler")))
    token = (tmp_path / "token").read_text()
    (tmp_path / "token").write_text("one that has expired")

    async def story(fleet: KubernetesFleet) -> None:
        with pytest.raises(FleetError, match="Unauthorized"):
            await fleet.api.list_pods({})
        (tmp_path / "token").write_text(token)
        assert await fleet.api.list_pods({})

    play(settings, story)


def test_doctor_says_what_is_missing_before_a_worker_is_wanted(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="needs RabbitMQ"):
        asyncio.run(check_fleet(replace(settings, broker_url="")))
    with pytest.raises(SettingsError, match="stored in /data"):
        asyncio.run(check_fleet(replace(settings, destination="/data")))
    assert re.search(r"0 workers, Kubernetes v1\.\d+", asyncio.run(check_fleet(settings)))


# A handshake that is cancelled leaves its socket to the collector of garbage: httpcore2 closes it on errors
# alone. With watches of two seconds one is always near.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_connections_that_are_cut_or_fall_silent_are_noticed_and_mended(
    settings: Settings, kubernetes: KubernetesCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open connection gives no error: only our own deadline ends it."""
    if not kubernetes.private:
        pytest.skip("needs the API server's certificate to name this machine")
    host, _, port = kubernetes.address().partition(":")
    with TcpProxy(int(port)) as proxy:
        through = tmp_path / "kubeconfig"
        text = Path(kubernetes.kubeconfig).read_text()
        through.write_text(text.replace(f"{host}:{port}", f"{host}:{proxy.port}"))
        monkeypatch.setenv("KUBECONFIG", str(through))

        async def scenario() -> None:
            fleet, outside = KubernetesFleet(settings, watch_seconds=2.0), KubernetesFleet(settings)
            await fleet.start(spec("w1"))
            await until_printed(fleet, "w1", "started")
            proxy.cut()
            await runs_on(fleet)
            # Half open: what happens meanwhile is seen once bytes flow again, or said to be unknown.
            proxy.stall()
            monkeypatch.setenv("KUBECONFIG", kubernetes.kubeconfig)
            await outside.list()
            await outside.kill("w1")
            await when(outside, lambda workers: [w.state for w in workers] == ["exited"])
            await unknown(fleet)
            proxy.resume()
            await known(fleet)
            assert [worker.state for worker in await fleet.list()] in (["exited"], [])
            # Nobody listens: the API server is stopped, and started again.
            proxy.shut()
            await unknown(fleet)
            proxy.reopen()
            await known(fleet)
            await fleet.start(spec("w2"))
            await until_printed(fleet, "w2", "started")
            await fleet.close()
            await outside.close()

        asyncio.run(scenario())
    gc.collect()  # here, not in the next test


async def runs_on(fleet: KubernetesFleet) -> None:
    """Return when the fleet's only worker runs: a list may have been cut, and is made again soon."""
    deadline = time.monotonic() + 90
    while True:
        try:
            if [worker.state for worker in await fleet.list()] == ["running"]:
                return
        except FleetError as error:
            assert "cannot reach the Kubernetes API server" in str(error)  # noqa: PT017 - it is waited for
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def unknown(fleet: KubernetesFleet) -> None:
    """Return when the fleet says that it does not know what runs."""
    deadline = time.monotonic() + 90
    while True:
        try:
            await fleet.list()
        except FleetError as error:
            assert "cannot reach the Kubernetes API server" in str(error)  # noqa: PT017 - it is waited for
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def known(fleet: KubernetesFleet) -> None:
    """Return when the fleet knows again."""
    deadline = time.monotonic() + 90
    while True:
        try:
            await fleet.list()
        except FleetError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return
