"""An SSH server on loopback for one test, and a home folder whose owner it lets in: root, by a key made here.

It needs root and Debian's openssh-server; the machine's own configuration, keys and known hosts are not read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from support.server_process import free_port
from support.system import wait_until

_SSHD = "/usr/sbin/sshd"


def missing() -> str | None:
    """Return why there can be no server on this machine, or None when there can."""
    if not Path(_SSHD).exists() or shutil.which("ssh-keygen") is None:
        return "sshd is not installed (apt-get install openssh-server)"
    if os.geteuid() != 0:
        return "only root can start sshd"
    return None


class SshServer:
    """A server whose sessions have `environment`; `home` holds the client's key and the server's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.home = folder / "home"
        self._folder = folder
        self._environment = environment
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        for path in (ssh / "id_ed25519", self._folder / "host_key"):
            make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(ssh / "id_ed25519.pub", self._folder / "allowed")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it insists on this one
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self._folder / 'host_key'}",
            f"AuthorizedKeysFile {self._folder / 'allowed'}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            *(f"SetEnv {name}={value}" for name, value in self._environment.items()),
        ]
        (self._folder / "config").write_text("\n".join(lines) + "\n")
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [_SSHD, "-D", "-e", "-f", str(self._folder / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: "Server listening" in self.log(), 60, self.log)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.terminate()
        self._server.wait()

    def known_as(self, port: int) -> None:
        """Let the client know the server's key, as that of a port of this machine."""
        key = (self._folder / "host_key.pub").read_text()
        (self.home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key}")

    def log(self) -> str:
        """Return what the server said."""
        return (self._folder / "log").read_text(errors="replace")
