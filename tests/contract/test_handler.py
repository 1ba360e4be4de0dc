"""What every handler promises, held to by all: upload, simulate, the user's own, and the examples."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from upswell.errors import PermanentUploadError
from upswell.handlers.protocol import Stored
from upswell.handlers.registry import load_handler
from upswell.messages import UploadRequest
from upswell.settings import Settings

if TYPE_CHECKING:
    from upswell.handlers.protocol import Handler

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
SECONDS = 0.2


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (400, 300), "navy").save(made, "PNG")
    return made.getvalue()


CONTENTS = {"thumbnails:thumbnail": picture(), "rows:insert": b"name,amount\nada,1.50\nbob,2\n"}
"""What a handler's source holds, where it cannot be anything."""


@pytest.fixture(params=HANDLERS)
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
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
        # Eight uploads of five bytes take SECONDS; the examples read more, and are measured by themselves.
        upload_rate_limit=0.0 if name in EXAMPLES else 5 / SECONDS * 8,
    )


@pytest.fixture
def handler(settings: Settings) -> Handler:
    return load_handler(settings)


def request(settings: Settings, number: int = 0, name: str = "file") -> UploadRequest:
    return UploadRequest(
        app_id="e1",
        type="file",
        uri=f"file://{settings.source_roots[0]}/{name}",
        id=f"r{number}",
        key=f"r{number}/file",
    )


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_handler_tells_what_it_stored_or_nothing(handler: Handler, settings: Settings) -> None:
    stored = run(handler(request(settings)))
    if stored is None:
        return
    assert isinstance(stored, Stored)
    assert stored.key.startswith("r0/file")
    if stored.checksum is None:
        assert stored.bytes == 5
    else:
        body = Path(settings.destination, stored.key).read_bytes()
        assert (stored.bytes, stored.checksum) == (len(body), f"sha256:{hashlib.sha256(body).hexdigest()}")


def test_the_same_request_may_be_handled_twice(handler: Handler, settings: Settings) -> None:
    async def scenario() -> None:
        assert await handler(request(settings)) == await handler(request(settings))

    run(scenario())


def test_uploads_run_side_by_side_and_the_loop_goes_on_meanwhile(
    handler: Handler, settings: Settings
) -> None:
    """A handler that blocked the loop would stop heartbeats, and the broker would take its uploads away."""

    async def scenario() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(SECONDS / 20)
                ticks += 1

        ticking = asyncio.ensure_future(tick())
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(handler(request(settings, number)) for number in range(4)))
        assert loop.time() - started < 3 * SECONDS  # one after the other: 4
        assert ticks >= 5 or loop.time() - started < SECONDS
        ticking.cancel()

    run(scenario())


@pytest.mark.parametrize("settings", [name for name in HANDLERS if name != "simulate"], indirect=True)
def test_what_can_never_be_stored_is_a_permanent_error(handler: Handler, settings: Settings) -> None:
    """Where something is read, that is: simulate reads nothing, so nothing can be missing."""
    with pytest.raises(PermanentUploadError):
        run(handler(request(settings, name="missing")))


def test_a_cancelled_handler_ends(handler: Handler, settings: Settings) -> None:
    """Stored after all (a thread that was nearly done), or an exception: never for ever."""

    async def scenario() -> None:
        call = asyncio.ensure_future(handler(request(settings)))
        await asyncio.sleep(SECONDS / 10)
        call.cancel()
        done, _ = await asyncio.wait([call], timeout=20 * SECONDS)
        assert done

    run(scenario())
