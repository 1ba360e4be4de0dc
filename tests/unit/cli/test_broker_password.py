"""Whatever the broker's password is made of, no command prints a part of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

from upswell.broker import open_broker
from upswell.cli.look.config import check
from upswell.errors import UpswellError
from upswell.safe import safe
from upswell.settings import load

if TYPE_CHECKING:
    from pathlib import Path

ANYTHING = st.text(
    st.sampled_from("/#?@ :[]%\\'\"<>&=;,é℀\n\t") | st.characters(exclude_categories=["Cs"], min_codepoint=1),
    max_size=8,
)
PASSWORDS = st.builds("s3cr{}s3cr{}s3cr".format, ANYTHING, ANYTHING)
"""Anything, with marks at both ends and within that are nowhere else."""

URLS = [
    "amqp://me:{}@127.0.0.1:1/",
    "amqps://me:{}@h/vh?heartbeat=5",
    "amqp://:{}@h",
    "amqp://{}@h",
    "amqp://me:{}",
    "amqp:me:{}@h",
    "me:{}@h/",
    "http://me:{}@h",
]


def printed_by(argument: str, url: str) -> str:
    """Return what `upswell config check` prints with this URL, and what every command that connects does."""
    runner = CliRunner()
    result = runner.invoke(check, ["--offline", argument], env={"AMQPURL": url}, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, UpswellError | click.ClickException):
        raise result.exception
    said = [result.output, safe(str(result.exception or ""))]
    try:
        broker = open_broker(load({"broker_url": url}, {})[0], name="test")
        said.append(repr(getattr(broker, "_address", "")))
    except UpswellError as error:
        said.append(safe(str(error)))
    return "\n".join(said)


@given(PASSWORDS, st.sampled_from(URLS), st.booleans(), st.sampled_from(["--explain", "--json"]))
def test_no_command_prints_a_password(password: str, url: str, encoded: bool, argument: str) -> None:
    written = quote(password, safe="") if encoded else password
    if "@" not in url:  # else what follows the "@" is the host of a valid URL, which may be shown
        assume("@" not in re.split("[/?#]", written)[0])
    assert "s3cr" not in printed_by(argument, url.format(written))


@given(PASSWORDS, st.booleans())
def test_the_password_of_the_management_api_is_hidden_too(password: str, encoded: bool) -> None:
    written = quote(password, safe="") if encoded else password
    variable = "UPSWELL_BROKERS_RABBITMQ_MANAGEMENT_URL"
    result = CliRunner().invoke(
        check,
        ["--offline", "--explain"],
        env={variable: f"http://me:{written}@h:15672"},
        standalone_mode=False,
    )
    assert "s3cr" not in result.output + safe(str(result.exception or ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "check", "--offline"),
        ("doctor",),
        ("status", "--app", "e1"),
        ("worker", "--app", "e1"),
        ("dead", "list", "--app", "e1"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://me:s3cr/s3cr@127.0.0.1:1/", "must have '/' in user and password percent-encoded, as %2F"),
        ("me:s3crs3cr@127.0.0.1:1/", "broker_url must be a URL that starts with its scheme"),
    ],
    ids=["reserved", "no scheme"],
)  # fmt: skip
def test_a_command_says_what_is_wrong_with_the_url_and_shows_nothing_of_it(
    tmp_path: Path, arguments: tuple[str, ...], url: str, said: str
) -> None:
    environment = {**os.environ, "AMQPURL": url, "UPSWELL_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "upswell", *arguments]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "s3cr" not in done.stdout + done.stderr
