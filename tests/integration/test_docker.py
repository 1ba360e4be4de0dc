"""The worker's image and the docker fleet, on a real engine, with a base image made on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from conftest import skip_or_fail
from support import azure_server, gcs_server, rclone, s3_server
from support.asking import ask_for_workers
from support.docker_engine import engine_over_tcp
from upswell.broker import open_broker, orders, topology
from upswell.broker.protocol import Broker, Message
from upswell.errors import FleetError
from upswell.fleets.docker import DockerFleet, check_engine
from upswell.fleets.environment import worker_environment
from upswell.fleets.protocol import WorkerSpec
from upswell.fleets.secrets_in_memory import in_memory
from upswell.messages import OperatorOrder, UploadRequest, encode
from upswell.scaler import Scaler
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.docker_engine import DockerEngine

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

APP = "contained"
IMAGE = "upswell-worker:test"
FILES = 30


@pytest.fixture(scope="module")
def image(engine: DockerEngine) -> str:
    return engine.worker_image(IMAGE)


@pytest.fixture
def container(engine: DockerEngine, image: str) -> Iterator[str]:
    """A worker as a student starts it: no fleet, no shared folder, the embedded broker inside."""
    name = f"upswell-test-{os.getpid()}"
    variables = ["--env", f"UPSWELL_APPS={APP}", "--env", "UPSWELL_HANDLER=simulate"]
    engine.docker("run", "--detach", "--name", name, "--network", "host", *variables, image)
    yield name
    engine.docker("rm", "--force", name)


def wait_for(condition: Callable[[], bool], what: Callable[[], object], timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


async def until(condition: Callable[[], bool], what: Callable[[], object], timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.1)


def test_the_image_runs_as_nobody_special_and_names_no_secret(engine: DockerEngine, image: str) -> None:
    config = json.loads(engine.docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["upswell"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "-m", "upswell.healthcheck"]
    assert engine.docker("run", "--rm", "--entrypoint", "id", image, "-u").strip() == "10001"


def test_the_courses_own_image_is_built_in_the_quickstart(engine: DockerEngine, image: str) -> None:
    engine.docker("tag", image, "upswell")
    engine.docker("build", "--tag", "app_id_worker_container/dst2018:0.1", "quickstart")
    config = json.loads(engine.docker("image", "inspect", "app_id_worker_container/dst2018:0.1"))[0]["Config"]
    assert config["Cmd"] == ["worker"]
    assert config["Labels"]["upswell.image"] == "worker"


def test_the_image_uploads_to_s3_google_and_azure(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    needed = (s3_server.missing("seaweedfs"), gcs_server.missing(), azure_server.missing(), rclone.missing())
    for reason in filter(None, needed):
        skip_or_fail(reason)
    tmp_path.chmod(0o755)
    (tmp_path / "photo.jpg").write_bytes(b"a photo")

    def upload(destination: str, **variables: str) -> str:
        given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        mounted = ("--network", "host", "--volume", f"{tmp_path}:/data:ro")
        return engine.docker("run", "--rm", *mounted, *given, image, "upload", "/data/photo.jpg", destination)

    with (
        s3_server.s3_server("seaweedfs", tmp_path / "s3") as s3,
        gcs_server.gcs_server(s3, tmp_path) as google,
        azure_server.azure_server(tmp_path / "azure") as azure,
    ):
        bucket = rclone.s3(s3)
        shown = upload(f"s3://{s3_server.BUCKET}/s3/", AWS_ENDPOINT_URL=s3, **s3_server.environment())
        assert rclone.read(bucket, "s3/photo.jpg") == b"a photo", shown
        account = {"GOOGLE_APPLICATION_CREDENTIALS": "/data/account.json"}
        shown = upload(f"gs://{s3_server.BUCKET}/gs/", UPSWELL_STORE_ENDPOINT=google, **account)
        assert rclone.read(bucket, "gs/photo.jpg") == b"a photo", shown
        container = azure_server.CONTAINER
        shown = upload(f"az://{container}/az/", UPSWELL_STORE_ENDPOINT=azure, **azure_server.environment())
        assert rclone.read(rclone.azure(azure, container), "az/photo.jpg") == b"a photo", shown


def test_the_image_reads_rules_and_lacks_nothing_but_plots(
    engine: DockerEngine, image: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "rules.toml").write_text(
        'timezone = "Europe/Helsinki"\n[rules.day]\nwhen = "hour > 8"\nat_least = 5\n'
    )
    variables = ("--env", "UPSWELL_APPS=a", "--env", "UPSWELL_RULES_FILE=/data/rules.toml")
    engine.docker("run", "--rm", "--volume", f"{tmp_path}:/data:ro", *variables, image, "config", "check")
    missing = engine.docker("run", "--rm", "--entrypoint", "python3", image, "-m", "upswell.extras")
    assert missing.startswith("not installed: ")
    assert missing.endswith('plot (--plot); to add: see "Install" in Upswell\'s README.md\n')
    assert "cloud" not in missing
    assert "rules" not in missing


def test_a_worker_in_a_container_is_healthy_and_drains_at_sigterm(
    engine: DockerEngine, container: str
) -> None:
    """Without an init process too: the worker is process 1 then."""
    wait_for(lambda: "worker.started" in logs(engine, container), lambda: logs(engine, container))
    # A worker that this machine has just held up for ten seconds is not healthy at once.
    wait_for(lambda: health(engine, container) == "", lambda: health(engine, container))
    engine.docker("kill", "--signal", "TERM", container)
    assert engine.docker("wait", container).strip() == "0"
    assert "state=draining" in logs(engine, container)


def test_a_worker_that_does_not_wake_is_unhealthy(engine: DockerEngine, container: str) -> None:
    wait_for(lambda: "worker.started" in logs(engine, container), lambda: logs(engine, container))
    # The kernel keeps SIGSTOP from process 1 of its own namespace, not from outside.
    pid = engine.docker("inspect", "--format", "{{.State.Pid}}", container).strip()
    os.kill(int(pid), 19)
    wait_for(lambda: "has stood still for" in health(engine, container), lambda: health(engine, container))


def health(engine: DockerEngine, container: str) -> str:
    """Return what a container's health check says; nothing where it is healthy."""
    try:
        return engine.docker("exec", container, "python3", "-m", "upswell.healthcheck")
    except RuntimeError as error:
        return str(error)


def logs(engine: DockerEngine, container: str) -> str:
    """Return what a container printed, on either stream."""
    return engine.docker("logs", container, both_streams=True)


def settings_for(tmp_path: Path, broker_url: str = "", image: str = IMAGE) -> Settings:
    sources = tmp_path / "sources"
    sources.mkdir()
    return Settings(
        broker_url=broker_url,
        state_dir=str(tmp_path / "state"),
        report_queue=f"{APP}_report",
        fleet="docker",
        fleets={"docker": {"image": image}},
        source_roots=[str(sources)],
        apps={APP: {"min_workers": 0, "max_workers": 3}},
    )


async def publish_files(broker: Broker, settings: Settings) -> None:
    queue = f"{APP}_upload"
    await broker.declare(topology.dead_letter_queue(queue))
    await broker.declare(topology.upload_queue(queue, delivery_limit=settings.delivery_limit))
    await broker.declare(topology.report_queue(settings.report_queue))
    for number in range(FILES):
        path = f"{settings.source_roots[0]}/{number}.bin"
        with open(path, "wb") as file:  # noqa: ASYNC230, PTH123 - a small file, in a test
            file.write(b"%d" % number * 1000)
        request = UploadRequest(
            app_id=APP, type="file", uri=f"file://{path}", id=f"r{number}", key=f"{number}"
        )
        await broker.publish(Message(body=encode(request), routing_key=queue, message_id=f"r{number}"))


async def scale_out_and_in(settings: Settings, store: Path) -> None:
    broker, first_broker = open_broker(settings, name="test"), open_broker(settings, name="first")
    await broker.connect()
    await first_broker.connect()
    fleet = DockerFleet(settings)
    first = Scaler(broker=first_broker, fleet=fleet, settings=settings, name=f"one-{time.time_ns()}")
    scaling = asyncio.create_task(first.run())
    try:
        await publish_files(broker, settings)
        await ask_for_workers(broker, settings, APP, 2)
        await until(lambda: [worker.phase for worker in first.workers()] == ["ready", "ready"], first.workers)
        # By their names: the store has a folder of its own besides. No worker is killed with one in hand.
        whole = {str(number) for number in range(FILES)}
        await until(lambda: whole <= {path.name for path in store.glob("*")}, lambda: list(store.glob("*")))
        ids = {worker.worker_id for worker in first.workers()}
        # The scaler is replaced; the new one finds the containers by their labels.
        scaling.cancel()
        await asyncio.gather(scaling, return_exceptions=True)
        await first_broker.close()
        second = Scaler(broker=broker, fleet=fleet, settings=settings, name=f"two-{time.time_ns()}")
        scaling = asyncio.create_task(second.run())
        await until(
            lambda: {w.worker_id for w in second.workers() if w.phase == "ready"} == ids, second.workers
        )
        await fleet.kill(min(ids))
        await until(lambda: second.costs.starts == 1, second.workers)
        await ask_for_workers(broker, settings, APP, 0)
        await second.drain_all()
        assert second.workers() == []
        assert second.costs.crashes == 1
        assert {worker.exit_code for worker in await fleet.list()} <= {0}
    finally:
        scaling.cancel()
        await asyncio.gather(scaling, return_exceptions=True)
        for worker in await fleet.list():
            await fleet.kill(worker.worker_id)
            await fleet.forget(worker.worker_id)
        await fleet.close()
        await broker.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_containers_upload_are_adopted_replaced_and_drained(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, image: str, docker_host: None
) -> None:
    settings = settings_for(tmp_path, request.getfixturevalue("rabbitmq") if kind == "rabbitmq" else "")
    store = tmp_path / "state/store" / APP
    asyncio.run(scale_out_and_in(settings, store))
    for number in range(FILES):
        assert (store / f"{number}").read_bytes() == b"%d" % number * 1000


async def restart_and_go_down(settings: Settings) -> None:
    broker, asking = open_broker(settings, name="test"), open_broker(settings, name="asking")
    await broker.connect()
    await asking.connect()
    fleet = DockerFleet(settings)
    scaler = Scaler(broker=broker, fleet=fleet, settings=settings, name=f"one-{time.time_ns()}")
    scaling = asyncio.create_task(scaler.run())
    operator = orders.Orders(asking, settings.report_queue, f"test-{time.time_ns()}")
    fewest = 3

    def all_are(phase: str) -> bool:
        return [worker.phase for worker in scaler.workers()] == [phase] * 3

    try:
        await operator.listen()
        await ask_for_workers(asking, settings, APP, 3)
        await until(lambda: all_are("ready"), scaler.workers)
        old = {worker.worker_id for worker in scaler.workers()}
        answer = await operator.give("scaler", OperatorOrder(order="restart", app_id=APP))
        assert set(answer.workers) == old
        while answer.workers_left:
            answer = await operator.give("scaler", OperatorOrder(order="restart", workers=answer.workers))
            fewest = min(fewest, sum(worker.phase == "ready" for worker in scaler.workers()))
            await asyncio.sleep(0.1)
        assert fewest == 3  # at max_workers, too
        new = {worker.worker_id for worker in scaler.workers() if worker.phase == "ready"}
        assert len(new - old) == 3
        # A worker is heard of through the broker, its log through the engine, in its own time.
        deadline = time.monotonic() + 60
        while "worker.started" not in "".join((await fleet.read_log(min(new), after="")).lines):
            assert time.monotonic() < deadline, await fleet.last_lines(min(new))
            await asyncio.sleep(0.1)
        await operator.give("scaler", OperatorOrder(order="down"))
        await asyncio.wait_for(scaling, 180)
        assert [worker for worker in await fleet.list() if worker.state == "running"] == []
    finally:
        scaling.cancel()
        await asyncio.gather(scaling, return_exceptions=True)
        for worker in await fleet.list():
            await fleet.kill(worker.worker_id)
            await fleet.forget(worker.worker_id)
        await fleet.close()
        await asking.close()
        await broker.close()


@pytest.mark.usefixtures("image", "docker_host")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_containers_are_replaced_one_after_the_other_and_all_leave_when_ordered_down(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process asks and answers: held up for ten seconds, it would not have answered itself in time.
    monkeypatch.setattr(orders, "ANSWER_SECONDS", 120.0)
    url = request.getfixturevalue("rabbitmq") if kind == "rabbitmq" else ""
    asyncio.run(restart_and_go_down(settings_for(tmp_path, url)))


def spec(**more: object) -> WorkerSpec:
    own = {"standby": False, **more}
    return WorkerSpec(worker_id="w1", app_id=APP, requested_at=time.time(), environment={}, **own)  # type: ignore[arg-type] - strings and a flag


def failure(settings: Settings, worker: WorkerSpec) -> str:
    async def scenario() -> str:
        fleet = DockerFleet(settings)
        try:
            await fleet.start(worker)
        except FleetError as error:
            assert [found for found in await fleet.list() if found.state == "running"] == []
            return str(error)
        finally:
            await fleet.close()
        return "nothing"

    return asyncio.run(scenario())


def test_a_missing_image_says_how_to_build_it(tmp_path: Path, docker_host: None) -> None:
    message = failure(settings_for(tmp_path, image="no-such-image:1"), spec())
    assert "not found on the Docker engine" in message
    assert "docker build -t no-such-image:1 ." in message


def test_an_image_written_by_others_cannot_stand_by(
    engine: DockerEngine, tmp_path: Path, docker_host: None
) -> None:
    message = failure(settings_for(tmp_path, image=engine.base_image()), spec(standby=True))
    assert "has no label upswell.image" in message


def test_an_image_written_by_others_starts_as_its_author_meant_it(
    engine: DockerEngine, tmp_path: Path, docker_host: None
) -> None:
    """The course's sample knows neither our arguments nor our status; as long as it runs, it counts."""

    async def scenario() -> None:
        fleet = DockerFleet(settings_for(tmp_path, image=engine.base_image()))
        await fleet.start(spec())
        (worker,) = await fleet.list()
        assert not worker.reports_status
        engine.docker("wait", "upswell-w1")
        for _ in range(600):  # the engine's list may lag behind what it tells who waits
            (worker,) = await fleet.list()
            if worker.state == "exited":
                break
            await asyncio.sleep(0.1)
        assert (worker.state, worker.exit_code) == ("exited", 0)
        await fleet.forget("w1")
        await fleet.close()

    asyncio.run(scenario())


def test_an_engine_that_is_away_is_not_an_empty_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")

    async def scenario() -> None:
        fleet = DockerFleet(settings_for(tmp_path))
        with pytest.raises(FleetError, match="cannot reach the Docker engine"):
            await fleet.list()
        await fleet.close()

    asyncio.run(scenario())


def test_a_container_is_confined_and_nothing_of_it_shows_a_secret(
    engine: DockerEngine, tmp_path: Path, image: str, docker_host: None
) -> None:
    settings = msgspec.structs.replace(
        settings_for(tmp_path, "amqp://me:hunter2@127.0.0.1:1"),
        destination="s3://bucket",
        source_roots=[],
        fleets={"docker": {"image": IMAGE, "memory": "256m", "cpus": 0.5, "pids_limit": 100}},
    )
    # Without credentials it would end while we look.
    credentials = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    environment = {**worker_environment(settings.for_app(APP), APP), **credentials}
    worker = msgspec.structs.replace(spec(), environment=environment)

    async def scenario() -> None:
        fleet = DockerFleet(settings)
        await fleet.start(worker)
        try:
            shown = engine.docker("inspect", "upswell-w1")
            assert "hunter2" not in shown
            found = json.loads(shown)[0]
            assert found["HostConfig"]["ReadonlyRootfs"]
            assert found["HostConfig"]["CapDrop"] == ["ALL"]
            assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
            assert found["HostConfig"]["PidsLimit"] == 100
            assert found["HostConfig"]["Memory"] == 256 * 1024**2
            assert found["HostConfig"]["NanoCpus"] == 500_000_000
            assert "/tmp" in found["HostConfig"]["Tmpfs"]
            assert found["Config"]["User"].split(":")[0] == str(os.getuid() or 10001)
            assert [(m["Destination"], m["RW"]) for m in found["Mounts"]] == [("/run/upswell/secrets", False)]
            assert len(found["Config"]["Labels"]["upswell.settings"]) == 12
            inside = Path(found["Mounts"][0]["Source"])
            assert in_memory(inside)
            ours = ("exec", "upswell-w1", "python3", "-c")
            read = "import pathlib; print(len(pathlib.Path('/run/upswell/secrets/AMQPURL').read_text()))"
            assert engine.docker(*ours, read).strip() == str(len(settings.broker_url))
            with pytest.raises(RuntimeError, match="Read-only file system"):
                engine.docker(*ours, "open('/opt/upswell/x', 'w')")
        finally:
            await fleet.kill("w1")
            await until_ended(fleet)
            await fleet.forget("w1")
            await fleet.close()
        assert not os.path.exists(inside)  # noqa: PTH110, ASYNC240 - in memory

    asyncio.run(scenario())


def test_a_reloaded_fleet_starts_containers_by_the_new_settings(
    engine: DockerEngine, tmp_path: Path, image: str, docker_host: None
) -> None:
    """A worker that is told another destination must have it mounted: elsewhere its uploads would be lost."""
    settings = settings_for(tmp_path)
    apps = {
        APP: {"destination": str(tmp_path / "new"), "fleets": {"docker": {"memory": "256m"}}},
    }

    async def scenario() -> None:
        fleet = DockerFleet(settings)
        fleet.reload(msgspec.structs.replace(settings, apps=apps))
        await fleet.start(spec())
        try:
            (found,) = json.loads(engine.docker("inspect", "upswell-w1"))
            writable = [mount["Destination"] for mount in found["Mounts"] if mount["RW"]]
            assert str(tmp_path / "new") in writable
            assert not any("/store/" in folder for folder in writable)
            assert found["HostConfig"]["Memory"] == 256 * 1024**2
        finally:
            await fleet.kill("w1")
            await until_ended(fleet)
            await fleet.forget("w1")
            await fleet.close()

    asyncio.run(scenario())


async def until_ended(fleet: DockerFleet) -> None:
    deadline = time.monotonic() + 60
    while [worker.state for worker in await fleet.list()] != ["exited"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_an_engine_elsewhere_shares_no_folder_and_says_so(
    tmp_path: Path, image: str, docker_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_over_tcp(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        settings = settings_for(tmp_path)
        message = failure(settings, spec())
        assert "the Docker engine is on another machine" in message
        assert "set AMQPURL, a destination such as s3://bucket/contained" in message
        with pytest.raises(FleetError, match="is on another machine"):
            asyncio.run(check_engine(settings))


def test_an_engine_elsewhere_hands_a_worker_its_secrets_by_its_input(
    engine: DockerEngine, tmp_path: Path, image: str, docker_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = msgspec.structs.replace(
        settings_for(tmp_path, "amqp://me:hunter2@127.0.0.1:1"), destination="s3://bucket", source_roots=[]
    )
    keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1"}
    environment = {**worker_environment(settings.for_app(APP), APP), **keys}
    worker = msgspec.structs.replace(spec(), environment=environment)

    async def scenario() -> None:
        fleet = DockerFleet(settings)
        await fleet.start(worker)
        try:
            assert "hunter2" not in engine.docker("inspect", "upswell-w1")
            # It knows where its broker is, so it has read its input.
            while "127.0.0.1:1" not in (printed := await fleet.last_lines("w1")):
                assert [found.state for found in await fleet.list()] == ["running"], printed
                await asyncio.sleep(0.1)
        finally:
            await fleet.kill("w1")
            await until_ended(fleet)
            await fleet.forget("w1")
            await fleet.close()

    with engine_over_tcp(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        asyncio.run(scenario())
