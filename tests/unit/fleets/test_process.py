"""Worker processes are told from other processes, whatever became of their ids."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from upswell.errors import FleetError
from upswell.fleets import processes
from upswell.fleets.process import ProcessFleet, ProcessRecord
from upswell.fleets.protocol import FleetWorker, WorkerSpec
from upswell.fleets.worker_logs import KEPT_LOGS, MAX_LOG_BYTES, WorkerLogs

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, record: ProcessRecord) -> None:
    path = folder / "workers" / f"{record.worker_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(record))


def listed(folder: Path) -> list[FleetWorker]:
    return asyncio.run(ProcessFleet(folder).list())


def test_a_process_id_that_somebody_else_has_now_is_no_worker(tmp_path: Path) -> None:
    me = processes.look(os.getpid())
    assert me is not None
    record = ProcessRecord(worker_id="w1", app_id="a1", requested_at=1.0, standby=False, pid=me.pid)
    for start_ticks in (me.start_ticks - 1, me.start_ticks):  # the second: after a reboot
        write(tmp_path, msgspec.structs.replace(record, start_ticks=start_ticks))
        assert [worker.state for worker in listed(tmp_path)] == ["exited"]


def test_somebody_else_s_process_is_never_signalled(tmp_path: Path) -> None:
    me = processes.look(os.getpid())
    assert me is not None
    write(
        tmp_path,
        ProcessRecord(
            worker_id="w1",
            app_id="a1",
            requested_at=1.0,
            standby=False,
            pid=me.pid,
            start_ticks=me.start_ticks,
        ),
    )

    async def scenario() -> None:
        await ProcessFleet(tmp_path).kill("w1")  # this very process would end

    asyncio.run(scenario())


def test_a_label_that_a_power_cut_left_half_written_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/half-written.json").write_text('{"worker_id": "w')
    assert listed(tmp_path) == []
    assert listed(tmp_path) == []


def test_a_label_without_process_id_is_completed_from_the_running_process(tmp_path: Path) -> None:
    """The scaler was killed between writing the label and noting whom it had started."""

    async def scenario() -> None:
        fleet = ProcessFleet(tmp_path, command=(sys.executable, "-c", "import time; time.sleep(60)"))
        spec = WorkerSpec(worker_id="lost-w1", app_id="a1", standby=False, requested_at=1.0, environment={})
        await fleet.start(spec)
        while processes.find("lost-w1") is None:  # noqa: ASYNC110 - it is being laid out by the kernel
            await asyncio.sleep(0)
        write(tmp_path, ProcessRecord(worker_id="lost-w1", app_id="a1", requested_at=1.0, standby=False))
        after_restart = ProcessFleet(tmp_path)
        found = await after_restart.list()
        await after_restart.kill("lost-w1")
        assert [(worker.worker_id, worker.state) for worker in found] == [("lost-w1", "running")]
        while (await fleet.list())[0].state == "running":  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_label_without_process_is_kept_until_none_can_come_any_more(tmp_path: Path) -> None:
    """The scaler was killed in mid-start, and nobody can see yet what the process is."""

    async def scenario() -> None:
        for name, at in (("just-begun", time.time()), ("long-ago", time.time() - 3600)):
            write(tmp_path, ProcessRecord(worker_id=name, app_id="a1", requested_at=at, standby=False))
        fleet = ProcessFleet(tmp_path)
        await fleet.drain("just-begun")
        assert [(worker.worker_id, worker.state) for worker in await fleet.list()] == [
            ("just-begun", "running"),
            ("long-ago", "exited"),
        ]

    asyncio.run(scenario())


def test_a_worker_that_cannot_be_started_says_what_must_hold(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = ProcessFleet(tmp_path, command=("/no/such/python",))
        spec = WorkerSpec(worker_id="unstarted", app_id="a1", standby=False, requested_at=1.0, environment={})
        with pytest.raises(FleetError, match="cannot start a worker \\(/no/such/python"):
            await fleet.start(spec)
        assert await fleet.list() == []

    asyncio.run(scenario())


def test_only_the_newest_logs_of_workers_that_are_gone_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT_LOGS + 10):
        path = tmp_path / f"w{number}.log"
        path.write_text("x")
        os.utime(path, (number, number))
    WorkerLogs(tmp_path).prune({"w0", "w1"})
    kept = {path.stem for path in tmp_path.iterdir()}
    assert {"w0", "w1", f"w{KEPT_LOGS + 9}"} <= kept
    assert len(kept) == KEPT_LOGS + 2
    assert "w2" not in kept


def test_a_log_that_grows_too_long_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "w1.log"
    path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    WorkerLogs(tmp_path).prune({"w1"})
    assert path.stat().st_size == 0
    assert path.with_suffix(".log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_the_last_lines_of_a_log_are_few_whatever_was_printed(tmp_path: Path) -> None:
    logs = WorkerLogs(tmp_path)
    (tmp_path / "w1.log").write_bytes(b"\xff" * 10_000 + b"\none\ntwo\nthree\nfour\nfive\nsix\n")
    assert logs.last_lines("w1") == "two\nthree\nfour\nfive\nsix"
    assert logs.last_lines("w2") == ""


def test_only_whole_lines_are_read_and_each_of_them_once(tmp_path: Path) -> None:
    logs, path = WorkerLogs(tmp_path), tmp_path / "w1.log"
    path.write_bytes(b"one\ntw")
    first = logs.read("w1", after="", limit=10)
    assert first.lines == ["one"]
    path.write_bytes(b"one\ntwo\nthree\n")
    assert logs.read("w1", after=first.position, limit=10).lines == ["two", "three"]
    assert logs.read("w1", after=None, limit=0).position == "14"


def test_a_log_that_was_rotated_meanwhile_is_read_from_its_new_start(tmp_path: Path) -> None:
    logs, path = WorkerLogs(tmp_path), tmp_path / "w1.log"
    path.write_bytes(b"a long line before\n")
    position = logs.read("w1", after=None, limit=10).position
    path.write_bytes(b"after\n")
    assert logs.read("w1", after=position, limit=10).lines == ["after"]


def test_a_log_without_line_breaks_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "w1.log").write_bytes(b"x" * 3_000_000)
    part = WorkerLogs(tmp_path).read("w1", after="", limit=10)
    assert (len(part.lines), part.position) == (1, "3000000")
    assert len(part.lines[0]) == 1_000_000
