"""The client's thread: who may use it, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from upswell import Client, SettingsError, UpswellError
from upswell.client.client import LoopThread

if TYPE_CHECKING:
    from pathlib import Path


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("upswell client")]


def test_a_client_starts_nothing_before_it_is_used_and_leaves_nothing_behind(tmp_path: Path) -> None:
    client = Client(state_dir=str(tmp_path))
    assert threads() == []
    with client:
        assert "upswell client" in threads()
    assert threads() == []
    client.close()
    with pytest.raises(UpswellError, match="the client is closed"):
        client.dead("photos")


def test_a_client_that_was_never_used_can_be_closed(tmp_path: Path) -> None:
    Client(state_dir=str(tmp_path)).close()
    assert threads() == []


def test_a_process_that_forked_is_told_to_make_its_own_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(state_dir=str(tmp_path))
    with client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            with pytest.raises(UpswellError, match="make one in each process, after the fork"):
                client.dead("photos")
        assert client.dead("photos") == []


def test_a_call_from_the_clients_own_thread_is_refused_rather_than_waited_for_ever() -> None:
    loop = LoopThread()

    async def nothing() -> None:
        pass

    async def call() -> None:
        loop.run(nothing())

    with pytest.raises(UpswellError, match="AsyncClient is for coroutines"):
        loop.run(call())
    loop.close(nothing)


def test_settings_come_from_the_environment_and_single_ones_override_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSWELL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("UPSWELL_DESTINATION", "/there")
    assert Client(destination="/here").settings.destination == "/here"
    assert Client().settings.destination == "/there"
    assert Client(Client().settings).settings.state_path == tmp_path
    with pytest.raises(SettingsError, match="destinaton"):
        Client(destinaton="/here")
    with pytest.raises(ValueError, match="either settings, or"):
        Client(Client().settings, destination="/here")


def test_retry_wants_ids_or_all(tmp_path: Path) -> None:
    with Client(state_dir=str(tmp_path)) as client:
        for ids, everything in (((), False), (("r1",), True)):
            with pytest.raises(ValueError, match="either the ids of dead uploads or all=True"):
                client.retry("photos", *ids, all=everything)


def test_importing_upswell_imports_nothing_and_a_worker_never_loads_the_client() -> None:
    script = (
        "import sys, upswell; "
        "print([name for name in sys.modules if name.startswith(('upswell.', 'msgspec', 'structlog'))]); "
        "import upswell.worker.loop; "
        "print({'upswell.client', 'numpy', 'pika', 'rich', 'click'} & {*sys.modules}); "
        "assert 'Client' in dir(upswell); from upswell import *; print(Client.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nset()\nClient\n"


def test_a_name_that_is_not_public_is_an_ordinary_attribute_error() -> None:
    import upswell  # noqa: PLC0415 - the module itself

    with pytest.raises(AttributeError, match="module 'upswell' has no attribute 'Worker'"):
        upswell.Worker  # type: ignore[attr-defined]  # noqa: B018 - asked for
