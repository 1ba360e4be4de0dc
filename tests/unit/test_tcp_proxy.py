"""The tests' TCP proxy: whatever it was in the middle of when it ends, no later test gets its remains."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time

from support.tcp_proxy import TcpProxy


def test_a_proxy_that_ends_while_clients_connect_leaves_no_connection_open() -> None:
    """What it would leave is a ResourceWarning at the next collection, which fails this test."""
    gone = threading.Event()

    def connect_again_and_again(port: int) -> None:
        with contextlib.suppress(OSError):
            while not gone.is_set():
                socket.create_connection(("127.0.0.1", port), timeout=60).close()

    with socket.create_server(("127.0.0.1", 0), backlog=1) as far:
        for _ in range(5):
            with TcpProxy(far.getsockname()[1]) as proxy:
                clients = [
                    threading.Thread(target=connect_again_and_again, args=(proxy.port,)) for _ in range(3)
                ]
                for client in clients:
                    client.start()
                time.sleep(0.02)
            gone.set()
            for client in clients:
                client.join()
            gone.clear()
    gc.collect()
