"""`upswell keda` with real workers on both brokers, asked by a client made from KEDA's .proto.

The cluster is a stand-in that follows KEDA's and the HPA's rules (tests/support/stand_in_cluster.py).
"""

from __future__ import annotations

import re
import signal
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest

from support import certificates
from support.keda_client import KedaClient
from support.stand_in_cluster import StandInCluster
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOADS = 300
NUMBERS = (1, 6, 2, 0, 5)
"""What an operator sets one after the other, while the uploads run."""

WAIT = 90.0

PATIENT = """
import upswell.keda.server as server
from upswell.cli import main
server.GRACE_SECONDS = 30.0
main()
"""
"""`upswell` whose streams may take longer to end: where a machine holds it up, they are not cut."""


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(
        tmp_path,
        broker_url=url,
        app_id=f"e{uuid4().hex[:8]}",
        keda_listen="127.0.0.1:0",
        keda_unready_seconds=6.0,  # the stand-in probes five times a second; a busy machine keeps it waiting
        decision_interval=1.0,
        status_interval=0.5,
        min_workers=0,
        max_workers=8,
        slots=1,
        upload_rate_limit=40_000,
    ) as made:
        yield made


def address(system: System) -> str:
    """Return where `upswell keda` listens, as it says."""
    found: list[str] = []

    def said() -> bool:
        log = (system.folder / "keda.log").read_text("utf-8")
        found[:] = re.findall(r"event=keda.started address=(\S+)", log)
        return bool(found)

    wait_until(said, WAIT, system.logs)
    return found[-1]


def code(ask: Any) -> grpc.StatusCode | None:
    """Return the code of an answer that is an error, None of one that is not."""
    try:
        ask()
    except grpc.RpcError as error:
        return error.code()  # type: ignore[attr-defined] - a Call, too
    return None


def told(client: KedaClient) -> float | None:
    """Return the number, None where there is none: a round is late, and KEDA changes nothing then."""
    try:
        return client.metric()
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAVAILABLE:  # type: ignore[attr-defined] - a Call, too
            return None
        raise


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_keda_follows_the_number_exactly_and_ends_no_busy_worker(system: System) -> None:
    requests = system.make_requests(UPLOADS, size=12_000)
    keda = system.start("keda", program=("-c", PATIENT))
    with grpc.insecure_channel(address(system)) as channel:
        client = KedaClient(system.folder, channel, application=system.app_id)
        assert client.target() == 1.0
        assert code(client.metric) == grpc.StatusCode.UNAVAILABLE  # no monitor has decided yet
        pushed = client.pushed()
        monitor = system.start("monitor")
        set_by_hand = ("scale", system.app_id, "1", "--for", "1h")
        wait_until(lambda: system.run(*set_by_hand, check=False).returncode == 0, WAIT, system.logs)
        system.publish(requests)
        with StandInCluster(system, client, most=8) as cluster:

            def follows(number: int) -> None:
                def runs() -> bool:
                    return len(cluster.pods) == cluster.ready == number == told(client)

                def seen() -> str:
                    return f"{number}: {[(pod.name, pod.is_ready) for pod in cluster.pods]} {system.logs()}"

                wait_until(runs, WAIT, seen)

            for number in NUMBERS:
                system.run("scale", system.app_id, str(number), "--for", "1h")
                follows(number)
            chosen = list(cluster.kills)
            # Each fall, and nothing more: no pod went by mistake.
            assert len(chosen) == sum(max(0, high - low) for high, low in pairwise(NUMBERS))
            evicted = cluster.pods[0]
            cluster.remove(evicted)  # not by the HPA, and busy: it finishes what it holds
            wait_until(lambda: system.stored_count() == UPLOADS, WAIT, system.logs)
            assert system.stored() == set(system.checksums)
            assert system.dead() == {}
            for pod in chosen:
                assert pod.process.wait(60) == 0
                assert "state=draining busy=0" in pod.log.read_text("utf-8")
            assert evicted.process.wait(60) == 0
            for pod in [*cluster.pods, *cluster.kills]:
                assert "worker.uploads_released" not in pod.log.read_text("utf-8")
            said = system.run("doctor", check=False).stdout
            assert "scaler" in said
            # Another takes the evicted one's place; what is late must not come after the monitor's end.
            wait_until(lambda: len(cluster.pods) == NUMBERS[-1], WAIT, system.logs)
            monitor.send_signal(signal.SIGKILL)
            present = len(cluster.pods)
            wait_until(lambda: code(client.metric) == grpc.StatusCode.UNAVAILABLE, WAIT, system.logs)
            assert code(client.active) == grpc.StatusCode.UNAVAILABLE
            assert len(cluster.pods) == present
        system.run_until_well("keda", "--health")
        keda.send_signal(signal.SIGTERM)
        # From 2 to 0 and on to 5; and the stream ends well, so that KEDA comes back soon.
        assert [answer.result for answer in pushed][-3:] == [True, False, True]
        assert keda.wait(60) == 0
    assert "no upswell keda answers" in system.run("keda", "--health", check=False).stderr


def test_several_applications_are_told_apart_and_an_unknown_one_is_an_error(
    tmp_path: Path,
) -> None:
    with System(
        tmp_path, app_id="e1", apps="e1,e2", keda_listen="127.0.0.1:0", decision_interval=0.5
    ) as system:
        system.start("keda")
        system.start("monitor")
        with grpc.insecure_channel(address(system)) as channel:
            clients = {name: KedaClient(tmp_path, channel, application=name) for name in ("e1", "e2", "e3")}
            assert {client.target() for client in clients.values()} == {1.0}
            assert {client.metric_name for client in clients.values()} == {
                "upswell-e1", "upswell-e2", "upswell-e3"
            }  # fmt: skip
            for name, number in (("e1", "2"), ("e2", "7")):
                set_by_hand = ("scale", name, number, "--for", "1h")
                wait_until(
                    lambda words=set_by_hand: system.run(*words, check=False).returncode == 0,
                    WAIT, system.logs,
                )  # fmt: skip
            wait_until(
                lambda: [told(clients[name]) for name in ("e1", "e2")] == [2.0, 7.0], WAIT, system.logs
            )
            assert code(clients["e3"].metric) == grpc.StatusCode.NOT_FOUND
            assert code(lambda: next(clients["e3"].pushed())) == grpc.StatusCode.NOT_FOUND
            assert next(clients["e1"].pushed()).result is True
            [spec] = next(clients["e1"].pushed_specs()).metricSpecs
            assert (spec.metricName, spec.targetSize) == ("upswell-e1", 1)


def test_with_tls_only_a_client_with_its_certificate_is_answered(tmp_path: Path) -> None:
    made = certificates.make(tmp_path / "tls")
    with System(
        tmp_path, app_id="e1", keda_listen="127.0.0.1:0", keda_tls_certificate=made.server,
        keda_tls_key=made.server_key, keda_tls_client_ca=made.authority,
    ) as system:  # fmt: skip
        system.start("keda")
        where = address(system)
        authority = made.authority.read_bytes()
        without = grpc.ssl_channel_credentials(authority)
        with grpc.secure_channel(where, without) as channel:
            client = KedaClient(tmp_path, channel, application="e1")
            assert code(client.target) == grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(where) as channel:
            assert code(KedaClient(tmp_path, channel, application="e1").target) == grpc.StatusCode.UNAVAILABLE
        own = grpc.ssl_channel_credentials(authority, made.client_key.read_bytes(), made.client.read_bytes())
        with grpc.secure_channel(where, own) as channel:
            assert KedaClient(tmp_path, channel, application="e1").target() == 1.0
        renewed = certificates.make(tmp_path / "renewed")
        for path in ("server", "server_key", "authority"):
            getattr(made, path).write_bytes(getattr(renewed, path).read_bytes())
        with grpc.secure_channel(where, own) as channel:  # signed by the authority of before
            assert code(KedaClient(tmp_path, channel, application="e1").target) == grpc.StatusCode.UNAVAILABLE
        own = grpc.ssl_channel_credentials(
            renewed.authority.read_bytes(), renewed.client_key.read_bytes(), renewed.client.read_bytes()
        )
        with grpc.secure_channel(where, own) as channel:
            assert KedaClient(tmp_path, channel, application="e1").target() == 1.0
        system.run_until_well("keda", "--health")  # it asks beside TLS
