"""Processes that end, as the kernel says it: one file descriptor a process, which becomes readable then.

What comes in: process ids. What goes out: a call. Nothing is asked again and again.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class ProcessEnds:
    """Follows processes while somebody watches."""

    def __init__(self) -> None:
        self._on_change: Callable[[], None] | None = None
        self._pids: set[int] = set()
        self._handles: dict[int, int] = {}

    def follow(self, pids: Iterable[int]) -> None:
        """Follow these processes, besides those already followed."""
        self._pids.update(pids)
        if self._on_change is not None:
            for pid in self._pids - self._handles.keys():
                self._open(pid)

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` whenever one of the processes ends, until cancelled."""
        self._on_change = on_change
        try:
            self.follow(())
            await asyncio.get_running_loop().create_future()
        finally:
            self._on_change = None
            for pid in list(self._handles):
                self._close(pid)

    def _open(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except OSError:  # it has ended, or there are too many open files: the next look at the fleet sees it
            self._pids.discard(pid)
            return
        self._handles[pid] = handle
        asyncio.get_running_loop().add_reader(handle, self._ended, pid)

    def _ended(self, pid: int) -> None:
        self._close(pid)
        self._pids.discard(pid)
        if self._on_change is not None:
            self._on_change()

    def _close(self, pid: int) -> None:
        handle = self._handles.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
