"""What every handler promises, held to by all: upload, simulate, the user's own, and the examples."""

from __future__ import annotations

import importlib
import io
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

from upswell.settings import Settings
from upswell.testing.handlers import SECONDS, HandlerContract

ROOT = Path(__file__).parents[2]

OWN = """
    import asyncio, time
    from upswell.errors import PermanentUploadError
    from upswell.handlers import Stored

    async def upload(request):
        await asyncio.sleep({seconds})
        if request.uri.endswith("missing"):
            raise PermanentUploadError("missing")
        return Stored(request.key, 5)

    def plain(request):
        time.sleep({seconds})
        if request.uri.endswith("missing"):
            raise PermanentUploadError("missing")
        return Stored(request.key, 5)

    async def streaming(request, context):
        def work():
            with context.open_source() as source:
                return context.store(source.read())
        return await context.in_thread(work)
"""
EXAMPLES = {
    "thumbnails:thumbnail": "thumbnails",
    "compress:gzipped": "compress",
    "compress:xz": "compress",
    "rows:insert": "postgres",
}
"""Handler -> its folder in examples/."""

HANDLERS = [
    "upload",
    "simulate",
    "own_handler:upload",
    "own_handler:plain",
    "own_handler:streaming",
    *EXAMPLES,
]


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (400, 300), "navy").save(made, "PNG")
    return made.getvalue()


CONTENTS = {"thumbnails:thumbnail": picture(), "rows:insert": b"name,amount\nada,1.50\nbob,2\n"}
"""What a handler's source holds, where it cannot be anything."""


class TestHandlers(HandlerContract):
    """The handlers that come with Upswell, the user's own, and the examples."""

    @pytest.fixture(params=HANDLERS)
    def settings(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Settings:
        """Return the settings of one handler after the other."""
        name: str = request.param
        if name == "rows:insert":
            request.getfixturevalue("postgres")
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "file").write_bytes(CONTENTS.get(name, b"12345"))
        (tmp_path / "own_handler.py").write_text(textwrap.dedent(OWN.format(seconds=SECONDS)))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.syspath_prepend(str(ROOT / "examples" / EXAMPLES.get(name, "")))
        monkeypatch.delitem(sys.modules, name.partition(":")[0], raising=False)
        if name == "rows:insert":
            importlib.import_module("rows").create_tables()
        return Settings(
            handler=name,
            slots=4,
            source_roots=[str(tmp_path / "in")],
            destination=str(tmp_path / "store"),
            handlers={"simulate": {"seconds": str(SECONDS)}},
            # Eight uploads of five bytes take SECONDS; the examples read more, and take their time.
            upload_rate_limit=0.0 if name in EXAMPLES else 5 / SECONDS * 8,
        )
