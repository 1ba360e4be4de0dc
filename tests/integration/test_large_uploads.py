"""Large uploads in processes of their own: how much memory they take, and what a killed one leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from conftest import skip_or_fail
from support import rclone, s3_server
from upswell.settings import Settings
from upswell.stores.registry import open_store
from upswell.stores.sources.files import open_file
from upswell.testing.memory_source import checksum

MIB = 1024 * 1024
SINK = Path(__file__).parents[1] / "support/s3_sink.py"

FOUR_AT_ONCE = """
    import asyncio, json, sys
    from pathlib import Path
    from upswell.handlers.registry import load_handler
    from upswell.messages import UploadRequest
    from upswell.settings import Settings

    endpoint, folder = sys.argv[1], Path(sys.argv[2])
    settings = Settings(destination="s3://bucket/x", store_endpoint=endpoint, source_roots=[str(folder)])

    async def scenario():
        handler = load_handler(settings)
        return await asyncio.gather(*(
            handler(UploadRequest(app_id="e1", type="file", uri=path.as_uri(), id=path.name, key=path.name))
            for path in sorted(folder.iterdir())
        ))

    stored = asyncio.run(scenario())
    # Not getrusage: it tells the parent's peak where that had more.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"bytes": sum(one.bytes for one in stored), "peak_mib": peak}))
"""

ONE_SLOWLY = """
    import sys, time
    from upswell.settings import Settings
    from upswell.stores.registry import open_store
    from upswell.stores.sources.files import open_file
    from pathlib import Path

    endpoint, path = sys.argv[1], Path(sys.argv[2])
    parts = {"objects": {"part_size": 5 * 2**20}}
    store = open_store(Settings(destination="s3://bucket/x", store_endpoint=endpoint, stores=parts))
    read = 0

    def pace(count):
        global read
        if count and not read:
            print("reading", flush=True)
        read += count
        time.sleep(0.5 if read <= 20 * 2**20 else 1000)  # half of it: it never ends before it is killed

    with open_file(path.as_uri(), [path.parent]) as source:
        store.put("big", source, pace=pace)
"""


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, **s3_server.environment()},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_2_gib_in_four_slots_stay_below_256_mib_resident(tmp_path: Path) -> None:
    """A 10 GiB object has parts of the same size (see `part_size`), so it takes no more."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        with (folder / f"{number}").open("wb") as file:
            file.truncate(512 * MIB)
    with subprocess.Popen([sys.executable, str(SINK), "--etags"], stdout=subprocess.PIPE, text=True) as sink:
        try:
            assert sink.stdout is not None
            process = child(FOUR_AT_ONCE, sink.stdout.readline().strip(), str(folder))
            output, _ = process.communicate(timeout=280)
        finally:
            sink.kill()
    told = json.loads(output)
    assert told["bytes"] == 2048 * MIB
    assert told["peak_mib"] < 256


@pytest.mark.slow
def test_what_a_worker_killed_in_mid_upload_left_is_gone_after_the_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = s3_server.missing("seaweedfs") or rclone.missing()
    if reason:
        skip_or_fail(reason)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "in" / "big"
    path.parent.mkdir()
    content = os.urandom(MIB) * 40
    path.write_bytes(content)
    with s3_server.s3_server("seaweedfs", tmp_path / "server") as endpoint:
        process = child(ONE_SLOWLY, endpoint, str(path))
        # Before it reads, it asks with an upload of the same name whether the store refuses damaged parts.
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        deadline = time.monotonic() + 60
        while "x/big" not in s3_server.unfinished(endpoint):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert s3_server.unfinished(endpoint) == ["x/big"]
        assert rclone.names(rclone.s3(endpoint)) == {}
        store = open_store(
            Settings(
                destination="s3://bucket/x",
                store_endpoint=endpoint,
                stores={"objects": {"part_size": 5 * MIB}},
            )
        )
        with open_file(path.as_uri(), [path.parent]) as source:
            store.put("big", source, again=True)
        assert s3_server.unfinished(endpoint) == []
        assert checksum(rclone.read(rclone.s3(endpoint), "x/big")) == checksum(content)
