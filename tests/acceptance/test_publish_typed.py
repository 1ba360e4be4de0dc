"""`upswell publish` as a person types it, at a terminal of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System
from support.terminal import CTRL_D, ENTER, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    on_rabbitmq = getattr(request, "param", "sqlite") == "rabbitmq"
    url = request.getfixturevalue("rabbitmq") if on_rabbitmq else ""
    with System(tmp_path, broker_url=url, app_id=f"typed{uuid4().hex[:8]}") as made:
        yield made


on_both_brokers = pytest.mark.parametrize(
    "system", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)


@pytest.fixture
def terminal(system: System) -> Iterator[Terminal]:
    with Terminal(system.environment, system.sources) as opened:
        yield opened


def fill(system: System, **files: str) -> None:
    for name, body in files.items():
        path = system.sources / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)


def stored(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".upswell-tmp" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in found}


@on_both_brokers
def test_files_and_folders_are_uploaded_by_their_names(system: System, terminal: Terminal) -> None:
    fill(system, photo_jpg="\x00not a request", b_jpg='{"type": "file"}', films__c_mp4="film")
    system.start("worker", "--app", system.app_id)
    shown = terminal.run(f"upswell publish --app {system.app_id} --wait photo.jpg")
    assert shown.status == 0, shown.text
    assert stored(system.store) == {"photo.jpg": "\x00not a request"}
    shown = terminal.run(f"upswell publish --app {system.app_id} --wait *.jpg films/")
    assert shown.status == 0, shown.text
    assert set(stored(system.store)) == {"photo.jpg", "b.jpg", "films/c.mp4"}
    assert "skipped 1 already stored" in shown.text


def test_what_is_not_there_is_said_before_anything_is_sent(system: System, terminal: Terminal) -> None:
    fill(system, a_jpg="a")
    shown = terminal.run(f"upswell publish --app {system.app_id} a.jpg nodir")
    assert (shown.status, shown.lines) == (1, ["error: nodir does not exist"])
    shown = terminal.run(f"upswell publish --app {system.app_id} s3:/bucket")
    assert (shown.status, shown.lines) == (1, ["error: a URI must begin with s3://, got s3:/bucket"])
    assert not (system.folder / "state").exists()


def test_without_source_roots_the_line_to_export_is_printed_and_works(system: System) -> None:
    fill(system, a_jpg="a")
    del system.environment["UPSWELL_SOURCE_ROOTS"]
    with Terminal(system.environment, system.sources) as terminal:
        shown = terminal.run(f"upswell publish --app {system.app_id} a.jpg")
        assert shown.status == 1
        line = "".join(shown.lines).partition("export ")[2]
        assert line == f"UPSWELL_SOURCE_ROOTS={system.sources}"
        assert terminal.run(f"export {line}").status == 0
        assert terminal.run(f"upswell publish --app {system.app_id} a.jpg").status == 0
    # As a list, too, nothing is sent.
    done = system.run("publish", "--app", system.app_id, "--requests", "/dev/null", check=False)
    assert done.returncode == 0
    path = system.folder / "list.jsonl"
    path.write_text(f"{system.sources / 'a.jpg'}\n")
    done = system.run("publish", "--app", system.app_id, str(path), check=False)
    assert done.returncode == 1
    assert "source_roots is empty" in done.stderr


def test_at_a_terminal_it_says_what_it_waits_for(system: System, terminal: Terminal) -> None:
    fill(system, a_jpg="a")
    terminal.type(f"upswell publish --app {system.app_id}")
    terminal.wait_for("reading from the terminal: a path, a URI or a JSON request on each line; Ctrl-D")
    terminal.press(f"a.jpg{ENTER}{CTRL_D}")
    shown = terminal.finish()
    assert shown.status == 0
    assert f"published 1 to {system.app_id}_upload" in shown.text


@on_both_brokers
def test_two_applications_do_not_overwrite_each_other_by_default(system: System, tmp_path: Path) -> None:
    del system.environment["UPSWELL_DESTINATION"]
    for name in ("one", "two"):
        fill(system, **{f"{name}__f_txt": name})
        app = f"{system.app_id}-{name}"
        system.start("worker", "--app", app)
        system.run("publish", "--app", app, "--wait", str(system.sources / name))
    found = stored(tmp_path / "state" / "store")
    assert found == {f"{system.app_id}-{name}/f.txt": name for name in ("one", "two")}


def test_config_check_warns_of_applications_that_share_a_destination(
    system: System, terminal: Terminal
) -> None:
    shown = terminal.run(f"UPSWELL_APPS=ap1,ap2 UPSWELL_DESTINATION={system.sources} upswell config check")
    assert shown.status == 0
    text = " ".join(shown.text.split())
    assert "warning: ap1 and ap2 both store in" in text
    fill(system, a_jpg="a")
    shown = terminal.run(
        f"UPSWELL_APPS=ap1,ap2 UPSWELL_DESTINATION={system.sources} upswell publish --app ap2 -n a.jpg"
    )
    assert "warning: ap1 and ap2 both store in" in " ".join(shown.text.split())
    shown = terminal.run("unset UPSWELL_DESTINATION; UPSWELL_APPS=ap1,ap2 upswell config check")
    assert "warning" not in shown.text
