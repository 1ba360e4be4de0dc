"""A Docker engine for tests: the one that is running, or a private one with its own socket and data.

What comes in: nothing. What goes out: a `DOCKER_HOST`, and images made here, since nothing can be pulled
everywhere. The private engine needs root and Debian's packages; it makes no bridge and touches no firewall:
the tests' containers use the host's network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.server_process import free_port
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
BASE = "upswell-base:test"

_FLAGS = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
_START_SECONDS = 60.0

# Making the base takes about a minute, so its file is kept for later sessions.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "upswell-tests"


def base_archive() -> Path:
    """Return where the base's file is kept for later sessions, once it was made."""
    script = ROOT / "scripts/base_image"
    return CACHE / f"base-{hashlib.sha256(script.read_bytes()).hexdigest()[:12]}.tar"


def missing() -> str | None:
    """Return why no engine can run on this machine, or None when one can."""
    if _answers(None):
        return None
    if shutil.which("dockerd") is None:
        return "Docker is not installed (apt-get install docker.io docker-cli docker-buildx)"
    if os.geteuid() != 0:
        return "no Docker engine is running, and only root can start one"
    return None


class DockerEngine:
    """An engine that answers; usable as a context manager. One that was running before is left running.

    Args:
        private: take no engine that is running, so that this one can be stopped.
        netns: network namespace to run in; its containers run there, too.
        flags: more options of dockerd.
    """

    def __init__(self, *, private: bool = False, netns: str = "", flags: Sequence[str] = ()) -> None:
        self._private = private
        self._netns = netns
        self._more_flags = tuple(flags)
        self._driver = ""
        self._swarm_ours = False
        # Not a folder of pytest's: what a killed engine leaves mounted there would fail later sessions.
        self._folder = Path(tempfile.mkdtemp(prefix="upswell-docker.", dir="/var/tmp"))
        self._engine: subprocess.Popen[bytes] | None = None
        self.host: str | None = None if private else os.environ.get("DOCKER_HOST")

    def start(self) -> None:
        """Find a running engine, or start one."""
        if not self._private and _answers(None):
            return
        for driver in ("overlay2", "vfs"):
            if self._start(driver):
                self._driver = driver
                return
        raise RuntimeError(f"dockerd did not start: {self.log()}")

    def stop(self) -> None:
        """Stop the private engine, and with it its containers, and drop its data."""
        if self._swarm_ours and self._engine is None:
            self.docker("swarm", "leave", "--force")
        engine, self._engine = self._engine, None
        if engine is not None:
            self._stop(engine)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self._folder}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def init_swarm(self) -> None:
        """Make the engine a Swarm's manager, on this machine's loopback alone, if it is none yet."""
        if self.docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active":
            return
        port, data_port = free_port(), free_port(socket.SOCK_DGRAM)
        where = ("--advertise-addr", f"127.0.0.1:{port}", "--listen-addr", f"127.0.0.1:{port}")
        self.docker("swarm", "init", *where, "--data-path-port", str(data_port))
        self._swarm_ours = True

    def pausing(self) -> EnginePause:
        """Return what ends and starts the engine again, with the same data and address."""
        return EnginePause(self)

    def halt(self) -> None:
        """End the private engine, and with it its containers; its data stay."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)

    def lost(self) -> None:
        """Take note that the private engine was killed, with all it ran."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.wait(60)

    def resume(self) -> None:
        """Start the private engine again."""
        if self._engine is None and not self._start(self._driver):
            raise RuntimeError(f"dockerd did not start again: {self.log()}")

    def _stop(self, engine: subprocess.Popen[bytes]) -> None:
        running = self.docker("ps", "--quiet").split()
        if running:
            with contextlib.suppress(RuntimeError):  # one has ended meanwhile
                self.docker("kill", *running)
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(30)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()

    def docker(self, *arguments: str, timeout: float = 600.0, both_streams: bool = False) -> str:
        """Run a docker command on this engine; return what it printed, on standard error too if asked."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment(),
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise RuntimeError(f"docker {arguments[0]} failed: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout + done.stderr if both_streams else done.stdout

    def environment(self) -> dict[str, str]:
        """Return this process's variables with `DOCKER_HOST` set for this engine."""
        return _asking(self.host)

    def base_image(self) -> str:
        """Return an image with Debian and Python in it, made at its first use on this machine."""
        if self.docker("images", "--quiet", BASE).strip():
            return BASE
        script, kept = ROOT / "scripts/base_image", base_archive()
        if kept.exists():
            self.docker("load", "--input", str(kept))
            return BASE
        done = subprocess.run(
            [script, BASE], env=self.environment(), check=False, capture_output=True, text=True, timeout=900
        )
        if done.returncode != 0:
            raise RuntimeError(f"scripts/base_image failed: {done.stderr[-4000:]}")
        CACHE.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        self.docker("save", "--output", str(part), BASE)
        part.replace(kept)
        return BASE

    def worker_image(self, name: str) -> str:
        """Build the worker's image from the repository's Dockerfile; return its name."""
        build = (
            "build",
            "--network",
            "host",
            "--build-arg",
            f"BASE_IMAGE={self.base_image()}",
            "--tag",
            name,
        )
        self.docker(*build, ".")
        return name

    def script_image(self, name: str, script: Path, *labels: str) -> str:
        """Build an image that runs one Python script; return its name."""
        folder = self._folder / f"context-{name.replace('/', '-').replace(':', '-')}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(script, folder / "script.py")
        lines = [f"FROM {self.base_image()}", *(f"LABEL {label}" for label in labels)]
        lines += ["COPY script.py /script.py", 'ENTRYPOINT ["python3", "/script.py"]']
        (folder / "Dockerfile").write_text("\n".join(lines))
        self.docker("build", "--tag", name, str(folder))
        return name

    def calls(self) -> int:
        """Return how many requests the private engine has had, where it was started with `--debug`."""
        with (self._folder / "log").open(errors="replace") as lines:
            return sum("Calling " in line for line in lines)

    def log(self) -> str:
        """Return the end of the private engine's log."""
        with contextlib.suppress(OSError):
            return (self._folder / "log").read_text("utf-8", "replace")[-4000:]
        return ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, driver: str) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        address = self._folder / "docker.sock"
        # Should the tests be killed, the kernel has it end, and its containers with it.
        setpriv = shutil.which("setpriv")
        command = [
            *([setpriv, "--pdeathsig", "TERM"] if setpriv else []),
            *_in_namespace(self._netns),
            "dockerd",
            f"--data-root={self._folder / 'data'}",
            f"--exec-root={self._folder / 'exec'}",
            f"--pidfile={self._folder / 'pid'}",
            f"--host=unix://{address}",
            f"--storage-driver={driver}",
            *_FLAGS,
            *self._more_flags,
        ]
        with (self._folder / "log").open("ab") as output:
            # In a session of its own, so that Ctrl-C at the tests does not end it before its containers.
            self._engine = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.host = f"unix://{address}"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._engine.poll() is None:
            if _answers(self.host):
                return True
            time.sleep(0.1)
        self._engine.kill()
        self._engine.wait()
        return False


def _in_namespace(name: str) -> list[str]:
    """Return what runs a command in a network namespace, with its name as the host's."""
    if not name:
        return []
    named = ("sh", "-c", 'hostname "$0"; exec "$@"', name)
    return ["nsenter", f"--net=/run/netns/{name}", "unshare", "--uts", *named]


class EnginePause:
    """Takes an engine away and brings it back."""

    def __init__(self, engine: DockerEngine) -> None:
        self.stop = engine.halt
        self.start = engine.resume


@contextlib.contextmanager
def engine_over_tcp(address: str) -> Iterator[str]:
    """Yield a TCP address that leads to an engine's socket: to its client, an engine on another machine."""
    with TcpProxy(address.removeprefix("unix://")) as way:
        yield f"tcp://127.0.0.1:{way.port}"


def _asking(host: str | None) -> dict[str, str]:
    """Return this process's variables, for Docker's client to ask the engine at `host`."""
    if not host:
        return dict(os.environ)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return {**kept, "DOCKER_HOST": host}


def _answers(host: str | None) -> bool:
    """Return whether an engine answers at `host`, or where the environment says."""
    if shutil.which("docker") is None:
        return False
    environment = _asking(host)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return (
            subprocess.run(
                ["docker", "version", "--format", "{{.Server.Version}}"],
                env=environment,
                check=False,
                capture_output=True,
                timeout=10,
            ).returncode
            == 0
        )
    return False
