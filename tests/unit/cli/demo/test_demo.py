"""What the demo leaves behind."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING, Any

import click
import pytest

from upswell import events
from upswell.cli.connection import Interrupts
from upswell.cli.demo import demo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_while_the_folder_is_removed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: Any) -> None:
        interrupts = Interrupts()
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(interrupts.next(), 60)

    def remove(path: str, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        really_remove(path, **options)

    really_remove = shutil.rmtree
    mine, temporary = tmp_path / "mine", tmp_path / "temporary"
    for folder in (mine, temporary):
        folder.mkdir()
    (mine / "a.bin").write_bytes(b"a")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(events, "configure", lambda **_: None)
    monkeypatch.setattr(demo.Demo, "run", interrupted)
    monkeypatch.setattr(shutil, "rmtree", remove)
    with pytest.raises(click.Abort):
        demo.command.main(["--files", str(mine), "--config", "/dev/null"], "demo", standalone_mode=False)
    assert list(temporary.iterdir()) == []
    signal.raise_signal(signal.SIGINT)  # nor does one while Python exits tell a traceback
