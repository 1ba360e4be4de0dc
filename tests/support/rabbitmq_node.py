"""A private RabbitMQ node: own ports, data, logs, cookie and name registry, and nothing left behind.

What comes in: a folder. What goes out: the URL of a running broker that can be stopped, killed and started
again with its data. It runs as whoever runs the tests (root too): Debian's wrapper in /usr/sbin, which
insists on the user `rabbitmq`, is left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from support.server_process import free_port

_SCRIPTS = (Path("/usr/lib/rabbitmq/bin"), Path("/opt/rabbitmq/sbin"), Path("/usr/local/sbin"))
_MANAGEMENT_PLUGINS = "[rabbitmq_management]."


def missing() -> str | None:
    """Return why no node can run on this machine, or None when one can."""
    if _script("rabbitmq-server") is None:
        return "RabbitMQ is not installed (apt-get install rabbitmq-server)"
    if shutil.which("epmd") is None:
        return "Erlang's epmd is not on the PATH (apt-get install erlang-base)"
    return None


class RabbitNode:
    """One node in `folder`; `config` is more lines for its rabbitmq.conf. Usable as a context manager.

    With `tls` it uses ca.pem, server.pem and server.key in its folder.
    """

    def __init__(
        self, folder: Path, *, management: bool = False, tls: bool = False, config: str = ""
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port() if tls else None
        self.management_port = free_port() if management else None
        self._dist_port = free_port()
        self._epmd_port = free_port()
        self.config = config
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """What it is called among the nodes of a cluster."""
        return f"upswell{self.port}@localhost"

    @property
    def url(self) -> str:
        """Where to connect, as the default user."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def management_url(self) -> str:
        """The management API, or nothing when the plugin is off."""
        return f"http://127.0.0.1:{self.management_port}" if self.management_port else ""

    def start(self, timeout: float = 90.0) -> None:
        """Start the node on its data and wait until it accepts connections."""
        self.launch()
        self.wait(timeout)

    def launch(self) -> None:
        """Start the node on its data."""
        self._write_files()
        self._start_epmd()
        with (self.folder / "stdout.log").open("ab") as output:
            self._node = subprocess.Popen(
                _dying_with_us(str(_script("rabbitmq-server"))),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, timeout: float = 90.0) -> None:
        """Wait until the node accepts connections."""
        for port in (self.port, self.tls_port, self.management_port):
            if port is not None:
                self._wait_for(port, time.monotonic() + timeout)

    def share_names_with(self, other: RabbitNode, cookie: str) -> None:
        """Be a node of the same cluster as another: with its name registry, which runs, and this secret."""
        self._epmd, self._epmd_port = other._epmd, other._epmd_port
        self.write_cookie(cookie)

    def write_cookie(self, cookie: str) -> None:
        """Have the secret by which the nodes of a cluster know each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ".erlang.cookie"
        path.write_text(cookie)
        path.chmod(0o400)

    def answers(self) -> bool:
        """Whether the node accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, timeout: float = 90.0) -> None:
        """Stop the node in good order; its data stay."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Stop the node as a power cut would; its data stay as they are on the disk."""
        self._end(signal.SIGKILL, 10.0)

    def hang(self) -> None:
        """Answer nothing more, on connections that stay open, until `go_on`."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End `hang`."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop in good order and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the node for good, and its name registry with it."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def sync(self) -> None:
        """Write what it knows of its queues to disk: killed within seconds, RabbitMQ 4.0 forgets new ones."""
        self.ctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()].")

    def ctl(self, *arguments: str) -> str:
        """Run a rabbitmqctl command on this node (about two seconds each); return what it printed."""
        done = subprocess.run(
            [str(_script("rabbitmqctl")), *arguments],
            env=self._environment(),
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self) -> str:
        """Return the end of the node's log."""
        texts = [path.read_text("utf-8", "replace") for path in sorted((self.folder / "log").glob("*.log"))]
        return "\n".join([*texts, (self.folder / "stdout.log").read_text("utf-8", "replace")])[-6000:]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.folder),  # the Erlang cookie lives there
            # The script becomes the node instead of its parent, so that signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
        }
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))
        }
        return {**inherited, **own}

    def _write_files(self) -> None:
        for name in ("data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        lines = [
            f"listeners.tcp.default = 127.0.0.1:{self.port}",
            "disk_free_limit.absolute = 10MB",
            "log.console = false",
        ]
        if self.management_port:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}"]
        if self.tls_port:
            lines.append(f"listeners.ssl.default = 127.0.0.1:{self.tls_port}")
            files = {"cacertfile": "ca.pem", "certfile": "server.pem", "keyfile": "server.key"}
            lines += [f"ssl_options.{option} = {self.folder / name}" for option, name in files.items()]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*lines, self.config, ""]))
        plugins = _MANAGEMENT_PLUGINS if self.management_port else "[]."
        (self.folder / "enabled_plugins").write_text(plugins)

    def _start_epmd(self) -> None:
        """Start the name registry in the foreground: the node would start a daemon that outlives it."""
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                _dying_with_us(
                    str(shutil.which("epmd")), "-port", str(self._epmd_port), "-address", "127.0.0.1"
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._wait_for(self._epmd_port, time.monotonic() + 60)

    def _wait_for(self, port: int, deadline: float) -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if self._node is not None and self._node.poll() is not None:
                    raise RuntimeError(f"RabbitMQ ended while starting: {self.log()}") from None
                if time.monotonic() > deadline:
                    raise RuntimeError(f"RabbitMQ does not listen on port {port}: {self.log()}") from None
                time.sleep(0.05)
            else:
                return

    def _end(self, how: signal.Signals, timeout: float) -> None:
        node, self._node = self._node, None
        if node is None:
            return
        node.send_signal(how)
        try:
            node.wait(timeout)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
        # Erlang's port helpers are in the node's own session; they end with it, and this makes sure.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)


def _script(name: str) -> Path | None:
    candidates = [folder / name for folder in _SCRIPTS if (folder / name).exists()]
    if not candidates:
        found = shutil.which(name)
        candidates = [Path(found)] if found else []
    return candidates[0] if candidates else None


def _dying_with_us(*command: str) -> list[str]:
    """Return the command so that the kernel kills it when the tests are killed (it keeps its pid).

    Only from the main thread: for the kernel, the parent is the thread that started it.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", *command]
