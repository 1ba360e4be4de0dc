"""What the pages quote is what the code has: commands, flags, events, settings, names."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from upswell import __version__
from upswell.cli import upswell
from upswell.events import EVENTS
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").glob("*.md"))),
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs/deploy").glob("*.md"))),
    *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("quickstart/*.md"))),
    *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("examples/*/*.md"))),
]
FENCES = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPANS = re.compile(r"`([^`\n]+)`")
EVENT = re.compile(
    r"\A(?:broker|decision|keda|leadership|monitor|rehearsal|scaler|store|worker)\.[a-z]+(?:_[a-z]+)*\Z"
)
NAME = re.compile(r"\A[a-z]+(?:_[a-z0-9]+)+\Z")
OF_OTHERS = {"external_account"}
"""Names in the files of Google's and others' tools."""
FILE_ENDINGS = (".py", ".md", ".toml", ".csv", ".sqlite", ".json", ".jsonl")


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def spans(page: str) -> Iterator[str]:
    """Give the code inside backticks, outside of fences."""
    for match in SPANS.finditer(FENCES.sub("", read(page))):
        yield match[1]


def commands(page: str) -> Iterator[list[str]]:
    """Give the words after `upswell` of each command that a page tells its reader to type."""
    lines = [
        line for kind, block in FENCES.findall(read(page)) if kind == "sh" for line in block.splitlines()
    ]
    for text in (*lines, *spans(page)):
        for part in re.split(r"[|;&]", text.split("#")[0]):
            match = re.search(r"(?:\A|\s)upswell (?!upswell )([a-z-].*)", part)
            if match is not None:
                yield shlex.split(re.sub(r"[\"']\Z", "", match[1]) if match[1].count("'") % 2 else match[1])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists_with_its_flags(page: str) -> None:
    for words in commands(page):
        command: click.Command = upswell
        for word in words:
            if not isinstance(command, click.Group) or word.startswith("-"):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"{page}: upswell has no command {word}"
            command = found
        flags = {
            flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            flag = word.split("=")[0]
            if flag.startswith("--"):
                assert flag in flags | {"--help", "--version"}, f"{page}: {command.name} has no flag {flag}"


@pytest.mark.parametrize("page", PAGES)
def test_every_event_that_a_page_names_is_logged(page: str) -> None:
    named = {span for span in spans(page) if EVENT.match(span) and not span.endswith(FILE_ENDINGS)}
    assert named <= set(EVENTS), f"{page} names events that do not exist: {sorted(named - set(EVENTS))}"


@pytest.mark.parametrize("page", PAGES)
def test_every_name_in_code_type_is_in_the_code(page: str) -> None:
    """Settings, fields, functions, columns: a page that outlives its names misleads."""
    code = words_of_the_code()
    named = {span for span in spans(page) if NAME.match(span)} - OF_OTHERS
    unknown = {name for name in named - code if not set(name.rsplit("_", 1)) <= code}  # rules compose theirs
    assert not unknown, f"{page} names what no file has: {sorted(unknown)}"


def test_the_image_that_the_readme_builds_is_one_that_the_fleet_looks_for() -> None:
    from upswell.fleets.docker_settings import docker_settings  # noqa: PLC0415

    readme = read("README.md")
    app = re.findall(r"UPSWELL_APPS=(\w+)", readme)
    built = re.findall(r"docker build -t (\S+)", readme)
    assert built == [docker_settings(Settings(), app[0]).image]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    locked = next(one for one in tomllib.loads(read("uv.lock"))["package"] if one["name"] == "upswell")
    newest = re.findall(r"(?m)^## (\S+) \(\d{4}-\d\d-\d\d\)$", read("CHANGELOG.md"))[0]
    assert project["version"] == locked["version"] == newest == __version__


def test_each_decision_page_has_a_number_of_its_own() -> None:
    """The number in a page's name is that of its heading, and no other page has it."""
    numbers: dict[int, str] = {}
    for page in sorted((ROOT / "docs/decisions").glob("*.md")):
        number = int(page.name[:4])
        assert page.read_text("utf-8").startswith(f"# {number}. "), f"{page.name} has another number in it"
        assert number not in numbers, f"{page.name} has the number of {numbers[number]}"
        numbers[number] = page.name
    assert numbers


def test_every_decision_page_that_is_named_is_there() -> None:
    pages = {page.name for page in (ROOT / "docs/decisions").glob("*.md")}
    for folder in ("docs", "src", "deploy", "examples"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".md", ".py") and file.is_file():
                named = set(re.findall(r"decisions/(\d{4}-[\w-]+\.md)", file.read_text("utf-8")))
                assert named <= pages, f"{file}: {sorted(named - pages)}"


def words_of_the_code() -> set[str]:
    if not _words:
        for folder in ("src", "benchmarks", "scripts", "quickstart", "examples", "tests"):
            for file in (ROOT / folder).rglob("*"):
                if file.suffix in (".py", ".toml", ".json", "") and file.is_file():
                    text = file.read_text("utf-8", errors="ignore")
                    _words.update(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text), (file.stem,))
    return _words


_words: set[str] = set()
