"""Three RabbitMQ nodes of one cluster, on this machine: killed, started again, and cut off from each other.

What comes in: a folder. What goes out: one URL that names all three. In a partition the minority pauses, as
RabbitMQ advises for quorum queues.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self

from support.rabbitmq_node import RabbitNode

if TYPE_CHECKING:
    from pathlib import Path

NODES = 3


class RabbitCluster:
    """A cluster in `folder`; usable as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [RabbitNode(folder / f"node{number}") for number in range(NODES)]
        self._cookie = secrets.token_hex(16)
        lines = [
            "cluster_formation.peer_discovery_backend = classic_config",
            "cluster_partition_handling = pause_minority",
            *(
                f"cluster_formation.classic_config.nodes.{number} = {node.name}"
                for number, node in enumerate(self.nodes, 1)
            ),
        ]
        for node in self.nodes:
            node.config = "\n".join(lines)

    @property
    def url(self) -> str:
        """Where to connect: any of the three."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"amqp://guest:guest@{hosts}/%2F"

    def cut_off(self, node: RabbitNode) -> None:
        """Have a node and the others know each other no more; the others go on, and it pauses."""
        others = [f"'{other.name}'" for other in self.nodes if other is not node]
        node.ctl(
            "eval",
            "[begin erlang:set_cookie(N, strangers), erlang:disconnect_node(N) end "
            f"|| N <- [{','.join(others)}]].",
        )

    def join_again(self, node: RabbitNode) -> None:
        """End `cut_off`."""
        others = [f"'{other.name}'" for other in self.nodes if other is not node]
        node.ctl(
            "eval",
            f"[begin erlang:set_cookie(N, '{self._cookie}'), net_kernel:connect_node(N) end "
            f"|| N <- [{','.join(others)}]].",
        )

    def __enter__(self) -> Self:
        first = self.nodes[0]
        try:
            first.write_cookie(self._cookie)
            first.launch()
            for node in self.nodes[1:]:
                node.share_names_with(first, self._cookie)
                node.launch()
            for node in self.nodes:  # at their first start they find each other, and wait for that
                node.wait()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop all nodes for good."""
        for node in self.nodes:
            node.close()

    def __exit__(self, *_: object) -> None:
        self.close()
