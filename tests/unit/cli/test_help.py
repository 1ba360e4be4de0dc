"""Help at the terminal: bare commands, misspelt ones, sections, defaults, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete

from upswell.cli import main, upswell
from upswell.cli.help import PREFIX, SECTIONS, SettingsCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPED = ("worker", "monitor", "scaler", "up", "publish", "upload", "doctor")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


@pytest.mark.parametrize("words", [(), ("config",), ("dead",)], ids=" ".join)
def test_a_group_without_a_command_prints_its_help(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    status, out, err = run(capsys, *words)
    _, helped, _ = run(capsys, *words, "--help")
    assert (status, out, err) == (2, helped, "")
    assert "\\n" not in out


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("statsu", "error: upswell has no command 'statsu'; did you mean status?"),
        ("dead lst", "error: upswell dead has no command 'lst'; did you mean list?"),
        ("config chekc", "error: upswell config has no command 'chekc'; did you mean check?"),
        ("dead zzz", "error: upswell dead has no command 'zzz'; see upswell dead --help"),
        ("up --min-worker 3", "error: No such option '--min-worker'."),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], typed: str, answer: str
) -> None:
    status, out, err = run(capsys, *typed.split())
    assert (status, out) == (2, "")
    assert answer in err


@pytest.mark.parametrize("name", GROUPED)
def test_every_setting_of_a_command_stands_in_one_section_of_its_help(name: str) -> None:
    command = upswell.get_command(click.Context(upswell), name)
    assert isinstance(command, SettingsCommand)
    offered = [p.name.removeprefix(PREFIX) for p in command.params if (p.name or "").startswith(PREFIX)]
    listed = [setting for settings in SECTIONS.values() for setting in settings]
    assert len(listed) == len(set(listed))
    assert set(offered) <= set(listed)
    text = command.get_help(click.Context(command, info_name=name))
    for option in (p for p in command.params if (p.name or "").startswith(PREFIX)):
        assert text.count(f"\n  {option.opts[0]} ") == 1, option.opts


def test_help_shows_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "up", "--help")
    assert (
        "Number of workers:\n  --min-workers VALUE            Minimum number of workers.  [default: 1]" in out
    )
    assert "Seconds between two decisions.  [default: 2]" in out


def completed(*words: str) -> list[str]:
    """Return what Tab offers for the last word."""
    completion = ShellComplete(upswell, {}, "upswell", "_UPSWELL_COMPLETE")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [name for name in os.environ if name.startswith("UPSWELL_")]:
        monkeypatch.delenv(name)
    (tmp_path / "upswell.toml").write_text("[apps.photos]\n[apps.films]\n")
    (tmp_path / "other.toml").write_text("[apps.another]\n")
    (tmp_path / "wrong.toml").write_text("min_workers = -1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_tab_completes_commands_and_applications() -> None:
    assert completed("sta") == ["status"]
    assert completed("status", "--app", "") == ["photos", "films"]
    assert completed("publish", "--app", "p") == ["photos"]
    assert completed("dead", "list", "--config", "other.toml", "--app", "") == ["another"]
    assert completed("dead", "list", "--config", "wrong.toml", "--app", "") == []


@pytest.mark.usefixtures("folder")
def test_tab_completes_policies_fleets_and_handlers() -> None:
    assert completed("up", "--policy", "k") == ["keda", "knative"]
    assert completed("up", "--fleet", "") == ["process", "docker", "swarm", "kubernetes"]
    assert completed("worker", "--handler", "s") == ["simulate"]
    assert completed("replay", "--policy", "thr") == ["threshold"]


@pytest.mark.usefixtures("folder")
def test_tab_completes_names_of_settings() -> None:
    assert completed("up", "--set", "store_") == ["store_endpoint=", "store_region="]
    assert completed("up", "--set", "handlers.simulate.sec") == ["handlers.simulate.seconds="]
    assert completed("up", "--set", "fleet=d") == ["fleet=docker"]
    assert completed("up", "--log-level", "w") == ["warning"]


def test_the_line_of_the_readme_completes_in_bash(folder: Path) -> None:
    script = (
        'eval "$(_UPSWELL_COMPLETE=bash_source upswell)"\n'
        "COMP_WORDS=(upswell status --app ph) COMP_CWORD=3\n"
        '_upswell_completion upswell; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=folder, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "photos\n", done.stderr
