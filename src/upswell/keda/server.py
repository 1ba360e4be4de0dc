# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The server that KEDA connects to: address, TLS, health.

What comes in: where to listen and which certificates. What goes out: a running server, and health for whoever
asks `upswell keda --health`. It must not know what is answered.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from upswell.errors import BrokerError, SettingsError
from upswell.events import get_logger
from upswell.keda.service import SERVICE, ExternalScaler, method_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.keda.loop import KedaScaler
    from upswell.settings import Settings

_log = get_logger()

GRACE_SECONDS = 2.0
"""Questions that are being answered when the server stops may take so long."""

SOCKET = "keda.sock"
"""In the state folder; there only health is asked, without TLS and from this machine alone."""

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path, at most: the kernel's limit is 107."""

HEALTH_SECONDS = 5.0

_KEEPALIVE_MILLISECONDS = 30_000
"""A KEDA that is gone without a word is noticed, and its streams end."""


@asynccontextmanager
async def serving(scaler: KedaScaler, settings: Settings) -> AsyncGenerator[str]:
    """Answer KEDA at `keda_listen`, and health beside it; yield the address with its port.

    Raises:
        SettingsError: the address or the state folder cannot be used, or a certificate cannot be read.
    """
    server = grpc.aio.server(
        options=[("grpc.keepalive_time_ms", _KEEPALIVE_MILLISECONDS), ("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers((method_handlers(ExternalScaler(scaler)),))
    beside = grpc.aio.server()
    healthy: Any = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue] - not in its types
    for each in (server, beside):
        health_pb2_grpc.add_HealthServicer_to_server(healthy, each)
    address = _bind(server, settings)
    socket = _health_socket(settings)
    _make_room(socket)
    _bound(beside.add_insecure_port, "state_dir", f"unix:{socket}")
    await server.start()
    await beside.start()
    for name in ("", SERVICE):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    _log.info("keda.started", address=address, apps=scaler.apps, tls=bool(settings.keda_tls_certificate))
    try:
        yield address
    finally:
        await healthy.enter_graceful_shutdown()
        # Streams end well: KEDA comes back in two seconds, after a broken one in up to a minute.
        await scaler.end()
        await server.stop(GRACE_SECONDS)
        await beside.stop(0)
        socket.unlink(missing_ok=True)


async def check_health(settings: Settings) -> None:
    """Return where the server of this state folder answers that it serves.

    Raises:
        BrokerError: it does not, with the reason.
    """
    socket = _health_socket(settings)
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise BrokerError(f"no upswell keda answers at {socket}: {error.details()}") from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise BrokerError("upswell keda is stopping")


def _bind(server: Any, settings: Settings) -> str:
    """Open the port that KEDA connects to; return the address with the port that it became."""
    host, _, port = settings.keda_listen.rpartition(":")
    add_port: Callable[[str], int] = server.add_insecure_port
    if settings.keda_tls_certificate:
        add_port = partial(server.add_secure_port, server_credentials=_credentials(settings))
    return f"{host}:{_bound(add_port, 'keda_listen', f'{host}:{port}')}"


def _bound(add_port: Callable[[str], int], name: str, address: str) -> int:
    try:
        return add_port(address)
    except RuntimeError as error:
        raise SettingsError(
            f"{name} must be an address that can be listened at, got {address}: {error}"
        ) from error


def _credentials(settings: Settings) -> Any:
    """Return credentials that read the files again for each connection: certificates are renewed in place."""

    def read() -> Any:
        pairs = [(_read(settings, "keda_tls_key"), _read(settings, "keda_tls_certificate"))]
        client_ca = _read(settings, "keda_tls_client_ca") if settings.keda_tls_client_ca else None
        return grpc.ssl_server_certificate_configuration(pairs, root_certificates=client_ca)

    def read_again() -> Any:
        try:
            return read()
        except SettingsError as error:  # half renewed: the last ones stay in use
            _log.warning("keda.certificate_unreadable", error=error)
            return None

    return grpc.dynamic_ssl_server_credentials(
        read(), read_again, require_client_authentication=bool(settings.keda_tls_client_ca)
    )


def _read(settings: Settings, name: str) -> bytes:
    path = Path(getattr(settings, name)).expanduser()
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{name} must be a file that can be read, got {path}: {error.strerror}"
        ) from error


def _health_socket(settings: Settings) -> Path:
    path = settings.state_path / SOCKET
    if len(bytes(path)) > MAX_SOCKET_PATH:
        raise SettingsError(
            f"state_dir must be so short that {SOCKET} in it has at most {MAX_SOCKET_PATH} bytes, got {path}"
        )
    return path


def _make_room(socket: Path) -> None:
    try:
        socket.parent.mkdir(parents=True, exist_ok=True)
        socket.unlink(missing_ok=True)  # of one that was killed
    except OSError as error:
        raise SettingsError(
            f"state_dir must be a folder that can be written to, got {socket.parent}: {error.strerror}"
        ) from error
