"""What a user installs: the source distribution and the wheel, in a clean environment without this folder."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
from msgspec import Struct

import upswell
from support.dashboard_page import told_page
from upswell.extras import EXTRAS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


class Distributions(Struct, frozen=True):
    """The two files that `uv build` makes: the wheel from the source distribution, not from this folder."""

    source: Path
    wheel: Path


def uv() -> str:
    """Return the program that `scripts/setup` used."""
    found = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    if not Path(found).exists():
        pytest.skip("uv is not installed (scripts/setup installs it)")
    return found


def run(*command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without any of our variables."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("UPSWELL", "PYTHON"))
    }
    environment |= {"UPSWELL_STATE_DIR": str(folder / "state"), **variables}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    folder = tmp_path_factory.mktemp("dist")
    run(uv(), "build", "--quiet", "--out-dir", folder, ROOT, folder=folder)
    return Distributions(source=next(folder.glob("*.tar.gz")), wheel=next(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def environment(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and nothing of the development environment."""
    folder = tmp_path_factory.mktemp("clean")
    made = folder / "environment"
    run(uv(), "venv", "--quiet", "--python", sys.executable, made, folder=folder)
    run(uv(), "pip", "install", "--quiet", "--python", made / "bin/python", built.wheel, folder=folder)
    return made


def test_the_distributions_hold_what_they_should_and_nothing_else(built: Distributions) -> None:
    name = f"upswell-{upswell.__version__}"
    assert built.source.name == f"{name}.tar.gz"
    assert built.wheel.name == f"{name}-py3-none-any.whl"
    with tarfile.open(built.source) as archive:
        held = {member.removeprefix(f"{name}/") for member in archive.getnames()}
    assert {"docs/operate.md", "quickstart/upswell.toml", "examples/thumbnails/README.md"} <= held
    assert {path.split("/")[0] for path in held} >= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert not {path.split("/")[0] for path in held} & {
        "tests",
        "benchmarks",
        "scripts",
        ".venv",
        ".uv",
        ".servers",
    }
    with zipfile.ZipFile(built.wheel) as wheel:
        held = set(wheel.namelist())
    files = [path for path in (ROOT / "src/upswell").rglob("*") if path.is_file()]
    sources = {str(path.relative_to(ROOT / "src")) for path in files if "__pycache__" not in path.parts}
    assert "upswell/dashboard/page/main.js" in sources
    assert {path for path in held if ".dist-info/" not in path} == sources


def test_the_installed_command_runs_the_demo(environment: Path, tmp_path: Path) -> None:
    """The files that it uploads, the broker, the fleet and the store: all of it from the wheel."""
    command = environment / "bin/upswell"
    assert run(command, "--version", folder=tmp_path).stdout == f"upswell {upswell.__version__}\n"
    shown = run(command, "demo", "--seconds", "6", "--json", folder=tmp_path).stdout.splitlines()[-1]
    assert '"lost":0' in shown
    assert '"stored":0' not in shown


def test_the_installed_package_is_imported_from_its_own_place(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin/python"
    program = "import upswell; from upswell import Client; print(upswell.__file__)"
    shown = run(python, "-c", program, folder=tmp_path).stdout
    assert Path(shown.strip()).is_relative_to(environment)


def test_what_is_missing_there_is_named_with_the_wheel_that_adds_it(
    environment: Path, built: Distributions, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    python = environment / "bin/python"
    shown = run(python, "-m", "upswell.extras", folder=tmp_path).stdout
    assert shown == (
        f"not installed: {', '.join(f'{extra} ({what})' for extra, what in EXTRAS.items())}; "
        f"to add: uv pip install --python {environment} '{built.wheel}[{','.join(EXTRAS)}]'\n"
    )
    command = shown.partition("to add: ")[2].replace(",".join(EXTRAS), "rules")
    run("bash", "-c", command, folder=tmp_path, PATH=f"{Path(uv()).parent}:{os.environ['PATH']}")
    assert "rules (" not in run(python, "-m", "upswell.extras", folder=tmp_path).stdout


def test_the_page_is_served_from_the_wheel_with_its_charts(
    environment: Path, built: Distributions, tmp_path: Path
) -> None:
    """Its files come with the wheel, uPlot with a package that the extra names; npm is not needed."""
    extra = f"{built.wheel}[dashboard]"
    run(uv(), "pip", "install", "--quiet", "--python", environment / "bin/python", extra, folder=tmp_path)
    variables = {**os.environ, "UPSWELL_STATE_DIR": str(tmp_path / "state")}
    log = tmp_path / "dashboard.log"
    with log.open("wb") as output:
        command = [str(environment / "bin/upswell"), "dashboard", "--port", "0"]
        process = subprocess.Popen(command, env=variables, cwd=tmp_path, stdout=output, stderr=output)
    try:
        served = told_page(log, process)
        page = urllib.request.urlopen(served.url, timeout=60).read().decode()
        for path in re.findall(r'(?:src|href)="((?:page|vendor)/[^"]+)"', page):
            with urllib.request.urlopen(served.url + path, timeout=60) as answer:
                body = answer.read()
            assert body, path
            stated = re.search(rf'"{re.escape(path)}"[^>]*integrity="sha384-([^"]+)"', page)
            if stated:
                assert base64.b64encode(hashlib.sha384(body).digest()).decode() == stated[1], path
        assert page.count("integrity=") == 2
    finally:
        process.terminate()
        process.wait(60)
