"""The docker fleet on an engine that is reached as one on another machine: by TCP with TLS, and by SSH."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support import certificates, ssh_server
from support.docker_engine import DockerEngine
from support.server_process import free_port
from support.tcp_proxy import TcpProxy
from upswell.errors import FleetError
from upswell.fleets.docker import DockerFleet
from upswell.settings import Settings
from upswell.testing.fleets import STAND_IN, clean, spec, until, until_answered, until_printed, watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

IMAGE = "upswell-elsewhere:test"


class Elsewhere:
    """An engine, and the way to it, which can be cut."""

    def __init__(self, engine: DockerEngine, way: TcpProxy) -> None:
        self.engine = engine
        self.way = way


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def remote(engine: DockerEngine, tls: certificates.Certificates, port: int) -> Iterator[DockerEngine]:
    """An engine that listens on TCP too, and there lets in who has a certificate of our authority."""
    engine.base_image()  # into the cache, if it is not there yet
    flags = (
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={tls.authority}",
        f"--tlscert={tls.server}",
        f"--tlskey={tls.server_key}",
    )
    with DockerEngine(private=True, flags=flags) as own:
        own.script_image(IMAGE, STAND_IN, "upswell.image=test")
        yield own


def client_of(tls: certificates.Certificates, folder: Path) -> str:
    """Return a folder with a client's files under the names that Docker gives them."""
    folder.mkdir()
    for source, name in ((tls.authority, "ca"), (tls.client, "cert"), (tls.client_key, "key")):
        shutil.copy(source, folder / f"{name}.pem")
    return str(folder)


@pytest.fixture
def by_tls(
    remote: DockerEngine,
    tls: certificates.Certificates,
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Elsewhere]:
    with TcpProxy(port) as way:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{way.port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", client_of(tls, tmp_path / "client"))
        yield Elsewhere(remote, way)


@pytest.fixture
def by_ssh(remote: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    if reason := ssh_server.missing():
        skip_or_fail(reason)
    folder = tmp_path / "ssh"
    folder.mkdir()
    with (
        ssh_server.SshServer(folder, {"DOCKER_HOST": remote.host or ""}) as server,
        TcpProxy(server.port) as way,
    ):
        server.known_as(way.port)
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.setenv("DOCKER_HOST", f"ssh://root@127.0.0.1:{way.port}")
        yield Elsewhere(remote, way)


@pytest.fixture(params=["by_tls", "by_ssh"])
def elsewhere(request: pytest.FixtureRequest) -> Elsewhere:
    return request.getfixturevalue(request.param)


def fleet_in(tmp_path: Path) -> DockerFleet:
    return DockerFleet(
        Settings(
            state_dir=str(tmp_path),
            broker_url="amqp://u:p@127.0.0.1",
            destination="s3://bucket",
            fleets={"docker": {"image": IMAGE, "installation": str(tmp_path)}},
        )
    )


def assert_not_spoken_to(tmp_path: Path, why: str) -> None:
    async def scenario() -> None:
        fleet = fleet_in(tmp_path)
        try:
            with pytest.raises(FleetError, match=f"cannot reach the Docker engine.*{why}"):
                await fleet.start(spec())
        finally:
            await fleet.close()

    asyncio.run(scenario())


# aiodocker leaves the local socket of an SSH connection open that was lost, one for each time.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_workers_on_an_engine_elsewhere_start_with_their_secrets_drain_end_and_outlive_a_cut(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    engine = elsewhere.engine

    async def scenario() -> None:
        fleet, after_restart = fleet_in(tmp_path), fleet_in(tmp_path)
        async with watched(fleet) as changed:
            await asyncio.gather(fleet.start(spec("w1")), fleet.start(spec("w2", standby=True)))
            # Its secrets came by its input: nothing of them is on that machine.
            printed = await until_printed(fleet, "w1", "started")
            assert "secrets AMQPURL DRAIN_SECONDS" in printed
            await until_printed(fleet, "w2", "--standby secrets AMQPURL DRAIN_SECONDS")
            assert "hunter2" not in engine.docker("inspect", "upswell-w1", "upswell-w2")
            assert {worker.worker_id for worker in await after_restart.list()} == {"w1", "w2"}

            await fleet.drain("w1")
            assert (await until(fleet, "w1", "exited")).exit_code == 0
            await fleet.forget("w1")
            assert [worker.worker_id for worker in await fleet.list()] == ["w2"]

            # The way is shut: unknown is not none. Open again, the end of a worker is seen.
            elsewhere.way.shut()
            with pytest.raises(FleetError, match="cannot reach the Docker engine"):
                await until(fleet, "never-was", "running")
            elsewhere.way.reopen()
            assert [worker.worker_id for worker in await until_answered(fleet)] == ["w2"]
            changed.clear()
            engine.docker("kill", "upswell-w2")
            await asyncio.wait_for(changed.wait(), 60)
            assert (await until(fleet, "w2", "exited")).exit_code == 137
        await after_restart.close()
        await clean(fleet)

    asyncio.run(scenario())
    assert engine.docker("ps", "--all", "--quiet") == ""


def test_an_engine_whose_certificate_nobody_we_trust_has_signed_is_not_spoken_to(
    by_tls: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = certificates.make(tmp_path / "others")
    monkeypatch.setenv("DOCKER_CERT_PATH", client_of(others, tmp_path / "their-client"))
    assert_not_spoken_to(tmp_path, "certificate verify failed")


def test_an_ssh_server_that_is_not_known_is_not_spoken_to(by_ssh: Elsewhere, tmp_path: Path) -> None:
    (tmp_path / "ssh/home/.ssh/known_hosts").write_text("")
    assert_not_spoken_to(tmp_path, "[Hh]ost key")


def test_events_that_are_cut_while_the_engine_answers_hide_no_end_of_a_worker(
    remote: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the stream of events is cut, again and again; the scaler's questions go through all the while."""
    with TcpProxy((remote.host or "").removeprefix("unix://")) as way:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{way.port}")

        async def scenario() -> None:
            fleet = fleet_in(tmp_path)
            names = [f"w{number}" for number in range(6)]
            async with watched(fleet):
                await asyncio.gather(*(fleet.start(spec(name)) for name in names))
                for name in names:
                    await until_printed(fleet, name, "started")
                for number, name in enumerate(names):
                    before, after = (name, "") if number % 2 else ("", name)
                    if before:
                        remote.docker("kill", f"upswell-{before}")
                    while not way.cut_those_asking(b"/events?"):  # noqa: ASYNC110 - it may be on its way
                        await asyncio.sleep(0.05)
                    assert await fleet.list()  # it answers
                    if after:
                        remote.docker("kill", f"upswell-{after}")
                    assert (await until(fleet, name, "exited")).exit_code == 137
                    await fleet.forget(name)
                assert await fleet.list() == []
            await clean(fleet)

        asyncio.run(scenario())
