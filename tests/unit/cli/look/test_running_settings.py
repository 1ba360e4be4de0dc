"""`config check` against the workers that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upswell import __version__
from upswell.cli.look.running_settings import changed, of_app
from upswell.fleets.worker_settings import (
    MOST_KEPT,
    recall_settings,
    remember_settings,
    settings_hash,
    worker_settings,
)
from upswell.messages import WorkerStatus
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def settings(path: Path, **own: Any) -> Settings:
    return Settings(state_dir=str(path), apps={"e1": own, "b2": {}})


def worker(running: Settings, state: Any = "ready", version: str = __version__) -> WorkerStatus:
    hashed = settings_hash(worker_settings(running.for_app("e1"), "e1"))
    return WorkerStatus(
        app_id="e1",
        worker_id="w",
        state=state,
        busy=0,
        slots=4,
        at=1.0,
        version=version,
        settings_hash=hashed,
    )


def test_workers_with_other_settings_are_counted_and_the_difference_named(tmp_path: Path) -> None:
    before, after = settings(tmp_path), settings(tmp_path, slots=8, max_workers=3)
    remember_settings(tmp_path, worker_settings(before.for_app("e1"), "e1"))
    assert list(of_app(after, "e1", [worker(before), worker(before), worker(after)])) == [
        "2 workers of e1 run other settings (slots 4 → 8): reload the scaler, then `upswell restart --app e1`"
    ]
    assert list(of_app(after, "b2", [worker(before)])) == []


def test_settings_that_no_scaler_of_this_folder_recorded_differ_without_a_name(tmp_path: Path) -> None:
    before, after = settings(tmp_path), settings(tmp_path, slots=8)
    (line,) = of_app(after, "e1", [worker(before)])
    assert line.startswith("1 worker of e1 runs other settings: reload")


def test_a_worker_that_leaves_anyway_needs_no_restart_nor_does_one_that_tells_nothing(tmp_path: Path) -> None:
    before, after = settings(tmp_path), settings(tmp_path, slots=8)
    silent = WorkerStatus(app_id="e1", worker_id="w", state="ready", busy=0, slots=4, at=1.0)
    assert list(of_app(after, "e1", [worker(before, "draining"), silent])) == []


def test_a_worker_of_another_version_is_named(tmp_path: Path) -> None:
    own = settings(tmp_path)
    (line,) = of_app(own, "e1", [worker(own, version="0.0.9\x1b[2J")])
    assert line.startswith("1 worker of e1 runs Upswell 0.0.9\\u001b[2J, this is ")


def test_of_a_table_only_the_name_is_shown_for_it_may_hold_a_secret() -> None:
    told = changed({"handlers": '{"mine": {"token": "hunter2"}}', "slots": "5"}, {"source_roots": "/a"})
    assert told == "handlers, slots 5 → 4, source_roots not set → /a"


def test_the_record_of_settings_is_private_and_bounded(tmp_path: Path) -> None:
    for slots in range(1, MOST_KEPT + 10):
        remember_settings(tmp_path, {"slots": str(slots)})
    newest = {"slots": str(MOST_KEPT + 9)}
    remember_settings(tmp_path, newest)
    kept = list((tmp_path / "settings").iterdir())
    assert len(kept) == MOST_KEPT
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}
    assert recall_settings(tmp_path, settings_hash(newest)) == newest
    assert recall_settings(tmp_path, "0" * 12) is None
