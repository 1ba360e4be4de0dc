"""From a setting to a handler; what is wrong must be said before a worker starts, not at each upload."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from upswell.errors import SettingsError
from upswell.handlers.own import OwnHandler
from upswell.handlers.registry import load_handler
from upswell.handlers.simulate import SimulateHandler
from upswell.handlers.upload import UploadHandler
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import functools

async def upload(request):
    return None

def plain(request):
    return None

class Caller:
    async def __call__(self, request):
        return None

caller = Caller()
partial = functools.partial(upload)
number = 7

def nothing():
    return None

def two(one, other):
    return None

def context(request, context):
    return None

def only_context(request, *, context=None):
    return None

def context_and_more(request, context, more):
    return None

def context_alone(context):
    return None
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a module of the user's, as for who installed the command."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nowhere_at_all")
    (tmp_path / "wrong.py").write_text("1 +")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for name in ("mine", "broken", "wrong"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_the_handlers_of_the_house_are_found_by_name(tmp_path: Path) -> None:
    assert isinstance(load_handler(Settings(destination=str(tmp_path))), UploadHandler)
    assert isinstance(load_handler(Settings(handler="simulate")), SimulateHandler)


@pytest.mark.parametrize("name", ["upload", "caller", "partial", "plain", "context", "only_context"])
def test_a_function_in_the_current_folder_is_found(here: Path, name: str) -> None:
    assert isinstance(load_handler(Settings(handler=f"mine:{name}")), OwnHandler)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("uplaod", "handler must be one of upload, simulate, or package.module:name, got 'uplaod'"),
        ("", "handler must be one of upload, simulate, or package.module:name, got ''"),
        ("mine.upload", "handler must be one of upload, simulate, or package.module:name"),
        ("../mine:upload", "handler must be one of upload, simulate, or package.module:name"),
        ("missing.module:f", "cannot import missing.module .looked in .*No module named 'missing'"),
        ("broken:f", "cannot import broken.*No module named 'nowhere_at_all'"),
        ("wrong:f", "cannot import wrong.*SyntaxError"),
        ("mine:uplaod", "mine has no uplaod; did you mean upload?"),
        ("mine:zzz", "mine has no zzz"),
        ("mine:number", "must be callable, got int"),
        ("mine:nothing", "must take one argument, the request"),
        ("mine:two", "must take one argument, the request, and may take another named context"),
        ("mine:context_and_more", "must take one argument, the request, and may .* 'more'"),
        ("mine:context_alone", "must take one argument, the request"),
    ],
)
def test_a_wrong_name_says_what_was_looked_for(here: Path, handler: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_handler(Settings(handler=handler))
