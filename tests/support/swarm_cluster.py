"""A Docker Swarm of several engines on this machine, each in a network namespace of its own.

What comes in: how many. What goes out: engines on one bridge, and what becomes of them: drained, lost. It
needs root. Containers use the "host" network of their engine, which is its namespace; `gateway` is this
machine as they reach it. Nothing is routed further, and no firewall is touched.

Found to work: `nsenter --net=/run/netns/NAME dockerd` with data root, exec root, pidfile and socket of its
own, a veth pair into a bridge, `--advertise-addr` of the namespace's address; Swarm's default ports are free
in each namespace. (`ip netns exec` mounts a new /sys, without the control groups that dockerd needs.)
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from support.docker_engine import DockerEngine


class SwarmCluster:
    """The first engine is the manager; usable as a context manager."""

    def __init__(self, nodes: int = 3) -> None:
        self._name = f"ups{os.getpid() % 100_000:05d}"
        self._net = f"10.{random.randint(180, 230)}.{random.randint(0, 255)}"
        self.gateway = f"{self._net}.1"
        self.engines = [DockerEngine(private=True, netns=f"{self._name}-{number}") for number in range(nodes)]

    @property
    def manager(self) -> DockerEngine:
        """The engine that scalers ask."""
        return self.engines[0]

    def node_name(self, number: int) -> str:
        """Return the name of a node: its network namespace's."""
        return f"{self._name}-{number}"

    def node_id(self, number: int) -> str:
        """Return Swarm's id of an engine."""
        return self._ids[number]

    def load(self, tar: Path) -> None:
        """Have every engine load an image."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda engine: engine.docker("load", "--input", str(tar)), self.engines))

    def drain(self, number: int) -> None:
        """Drain a node, as its operator does before a reboot."""
        self.manager.docker("node", "update", "--availability", "drain", self._ids[number])

    def lose(self, number: int) -> None:
        """Take a node away as a power cut does: everything in its namespace ends at once."""
        pids = [int(pid) for pid in _ip("netns", "pids", self.node_name(number)).split()]
        engines = [pid for pid in pids if _program(pid) == "dockerd"]
        for pid in engines:
            _kill(pid, signal.SIGSTOP)  # it must not see its containers end
        for pid in [pid for pid in pids if pid not in engines] + engines:
            _kill(pid, signal.SIGKILL)
        self.engines[number].lost()

    def __enter__(self) -> Self:
        _ip("link", "add", self._name, "type", "bridge")
        try:
            _ip("address", "add", f"{self.gateway}/24", "dev", self._name)
            _ip("link", "set", self._name, "up")
            for number in range(len(self.engines)):
                self._connect(number)
            for engine in self.engines:  # in this thread: an engine ends with the one that began it
                engine.start()
            self._join()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _connect(self, number: int) -> None:
        name, inside = self.node_name(number), ("netns", "exec", self.node_name(number), "ip")
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", self._name, "up")
        _ip(*inside, "address", "add", f"{self._net}.{number + 2}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")

    def _join(self) -> None:
        manager = f"{self._net}.2"
        # A node that is silent for three of them is lost: one that this machine holds up must not be.
        self.manager.docker("swarm", "init", "--advertise-addr", manager, "--dispatcher-heartbeat", "5s")
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        for number, engine in enumerate(self.engines[1:], 3):
            where = ("--advertise-addr", f"{self._net}.{number}")
            engine.docker("swarm", "join", *where, "--token", token, f"{manager}:2377")
        self._ids = [
            json.loads(engine.docker("info", "--format", "{{json .Swarm.NodeID}}")) for engine in self.engines
        ]

    def _end(self) -> None:
        for number, engine in enumerate(self.engines):
            with contextlib.suppress(RuntimeError):
                self.lose(number)  # a Swarm takes its leave of each node for half a minute
                _ip("netns", "delete", self.node_name(number))
            engine.stop()
        with contextlib.suppress(RuntimeError):
            _ip("link", "delete", self._name)


def missing() -> str | None:
    """Return why no such cluster can be made on this machine, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    name = f"upswell-probe-{os.getpid()}"  # others may ask at the same time
    done = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if done.returncode:
        return f"no network namespaces: {done.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)} failed: {done.stderr}")
    return done.stdout


def _program(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _kill(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
