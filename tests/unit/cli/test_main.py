from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import click
import pytest

from upswell import cli
from upswell.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `upswell ARGUMENTS` in this process; return its exit status, output and error output."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def add_command(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object]) -> None:
    """Make `upswell demo` a command that does `body`."""
    module = SimpleNamespace(command=click.command()(body))
    monkeypatch.setitem(sys.modules, "upswell.cli.demo.demo", module)  # type: ignore[arg-type]


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name, (_, purpose) in cli.COMMANDS.items():
        assert name in out
        assert purpose in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_in_the_table_exists_and_explains_itself(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert f"Usage: upswell {name}" in out


def test_help_imports_no_command_and_nothing_heavy() -> None:
    """`upswell --help` must answer at once."""
    code = (
        "import sys, upswell.cli\n"
        "try: upswell.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('msgspec', 'rich', 'numpy', 'pika', 'asyncio', 'structlog')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_an_upswell_error_is_one_masked_line_and_exit_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise BrokerError("cannot reach amqp://me:secret@host/:\nrefused\x1b[31m")

    add_command(monkeypatch, fail)
    assert run(capsys, "demo") == (1, "", "error: cannot reach amqp://***@host/:\\nrefused\\u001b[31m\n")


def test_what_a_command_returns_is_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_command(monkeypatch, lambda: 1)
    assert run(capsys, "demo")[0] == 1
    add_command(monkeypatch, lambda: None)
    assert run(capsys, "demo")[0] == 0


def test_ctrl_c_ends_a_command_with_status_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    add_command(monkeypatch, interrupt)
    status, _, err = run(capsys, "demo")
    assert (status, err.strip()) == (130, "error: interrupted")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "upswell has no command 'nonsense'; see upswell --help"),
        (["publish"], "Missing option '--app'"),
        (["publish", "--app", "../x"], "app_id must be 1 to 64 letters, digits, '_' or '-'"),
        (["publish", "--app", "a;rm -rf"], "got 'a;rm -rf'"),
        (["publish", "--app", "x" * 300], "app_id must be"),
        (["publish", "--app", "x\x00y"], "got 'x\\x00y'"),
        (["publish", "--app", "e1", "--rate", "-1"], "-1.0 is not in the range x>0"),
        (["publish", "--app", "e1", "--rate", "nan"], "must be a finite number, got nan"),
        (["publish", "--app", "e1", "--timeout", "inf"], "must be a finite number, got inf"),
        (["demo", "--seconds", "nan"], "must be a finite number, got nan"),
        (["publish", "--app", "e1", "--repeat", "0"], "0 is not in the range x>=1"),
        (["worker", "--app", "e1", "amqp://me:secret@host"], "amqp://***@host"),
        (["dead", "retry", "--app", "e1"], "give either ids to retry or --all"),
    ],
)
def test_misuse_is_one_line_after_the_usage_and_exit_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert "secret" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker", "--app", "e1", "--slots", "0"], "slots must be a whole number from 1 to 1000"),
        (["worker", "--app", "e1", "--slots", "many"], "slots must be a whole number"),
        (
            ["publish", "--app", "e1", "--config", "missing.toml"],
            "cannot read the settings file missing.toml",
        ),
        (["publish", "--app", "e1", "missing.json"], "missing.json does not exist"),
        (["publish", "--app", "e1", "--requests", "missing.json"], "cannot read missing.json"),
        (["publish", "--app", "e1", "bad\x00name"], "bad\\u0000name does not exist"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_rule_and_exit_status_1(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_is_no_hindrance(closed: str) -> None:
    """Some supervisors close what nobody reads; Python has None for it then."""
    command = f'"{sys.executable}" -m upswell --help {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_our_output_is_said_in_one_line() -> None:
    command = f'"{sys.executable}" -m upswell --help >/dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")


def test_an_argument_that_is_no_text_where_text_is_needed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_command(monkeypatch, "bad\udcff".encode)
    status, _, err = run(capsys, "demo")
    assert (status, err) == (1, "error: text must be UTF-8, got 'bad\\udcff'\n")
