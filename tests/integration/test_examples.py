"""The complete examples, each by its real command, and what is particular to each."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import io
import json
import lzma
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from PIL import Image

from support.system import System
from upswell.errors import PermanentUploadError, StoreUnavailableError
from upswell.handlers.registry import load_handler
from upswell.messages import UploadRequest
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, app_id="ex") as made:
        yield made


def publish(system: System, handler: str, folder: str) -> dict[str, Any]:
    """Run the README's commands: a worker with the example's handler, and publish what is in `sources`."""
    system.environment |= {"PYTHONPATH": str(EXAMPLES / folder), "UPSWELL_HANDLER": handler}
    system.start("worker", "--app", system.app_id)
    done = system.run("publish", "--app", system.app_id, "--wait", "--json", str(system.sources), check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def objects(system: System) -> list[str]:
    found = (path for path in system.store.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(system.store)) for path in found)


def test_thumbnails_are_small_upright_and_without_metadata(system: System) -> None:
    tall = Image.new("RGB", (3000, 1000), "teal")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, as a telephone writes it
    exif[0x010E] = "a secret place"
    tall.save(system.sources / "turned.jpg", exif=exif)
    Image.new("RGBA", (40, 30), (255, 0, 0, 128)).save(system.sources / "little.png")
    (system.sources / "fake.jpg").write_bytes(b"\xff\xd8\xff no picture")
    summary = publish(system, "thumbnails:thumbnail", "thumbnails")
    assert (summary["stored"], summary["dead"]) == (2, 1)
    assert summary["failures"][0]["name"] == "fake.jpg"
    assert summary["failures"][0]["reason"] == "not an image that Pillow can read"
    assert objects(system) == ["little.png.thumb.jpg", "turned.jpg.thumb.jpg"]
    with Image.open(system.store / "turned.jpg.thumb.jpg") as image:
        assert image.size == (85, 256)
        assert b"a secret place" not in (system.store / "turned.jpg.thumb.jpg").read_bytes()
    with Image.open(system.store / "little.png.thumb.jpg") as image:
        assert image.size == (40, 30)  # never made larger


def test_a_picture_that_unfolds_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "thumbnails"))
    thumbnails = importlib.import_module("thumbnails")
    made = io.BytesIO()
    Image.new("1", (9000, 9000)).save(made, "PNG")
    with pytest.raises(PermanentUploadError, match="must not unfold to so much: Image size"):
        thumbnails.small(made.getvalue())


@pytest.mark.parametrize(
    ("handler", "suffix", "unpack"),
    [("gzipped", ".gz", gzip.decompress), ("xz", ".xz", lzma.decompress)],
    ids=["gzip", "xz"],
)
def test_compressed_files_unfold_to_what_they_were(
    system: System, handler: str, suffix: str, unpack: Any
) -> None:
    rng = random.Random(7)
    bodies = {"empty": b"", "text": b"again and again\n" * 100_000, "noise": rng.randbytes(9 * 1024 * 1024)}
    for name, body in bodies.items():
        (system.sources / name).write_bytes(body)
    summary = publish(system, f"compress:{handler}", "compress")
    assert (summary["stored"], summary["dead"]) == (3, 0)
    assert objects(system) == sorted(name + suffix for name in bodies)
    for name, body in bodies.items():
        assert unpack((system.store / f"{name}{suffix}").read_bytes()) == body
    assert (system.store / f"text{suffix}").stat().st_size < 10_000


def rows_handler(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES / "postgres"))
    monkeypatch.delitem(sys.modules, "rows", raising=False)
    importlib.import_module("rows").create_tables()
    return load_handler(Settings(handler="rows:insert", source_roots=[str(folder)]))


def test_rows_are_inserted_all_or_none(
    system: System, postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_handler(monkeypatch, system.sources)
    system.environment |= postgres
    (system.sources / "good.csv").write_text('name,amount\n"Ada, Countess",1.50\nBob,2\n')
    (system.sources / "bad.csv").write_text("name,amount\nCarl,3\nDora,much\n")
    (system.sources / "short.csv").write_text("name,amount\nEve,3\nFay\n")
    summary = publish(system, "rows:insert", "postgres")
    assert (summary["stored"], summary["dead"]) == (1, 2)
    with psycopg.connect() as connection:
        found = connection.execute("SELECT name, amount::text FROM payments ORDER BY line").fetchall()
        assert found == [("Ada, Countess", "1.50"), ("Bob", "2")]
        assert connection.execute("SELECT count(*) FROM requests_done").fetchall() == [(1,)]


def test_a_request_delivered_twice_and_at_once_inserts_its_rows_once(
    postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = rows_handler(monkeypatch, tmp_path)
    (tmp_path / "a.csv").write_text("name,amount\n" + "".join(f"n{n},{n}\n" for n in range(1000)))
    request = UploadRequest(app_id="ex", type="text", uri=(tmp_path / "a.csv").as_uri(), id="one", key="k")

    async def scenario() -> None:
        await asyncio.gather(*(handler(request) for _ in range(4)))
        await handler(request)

    asyncio.run(scenario())
    with psycopg.connect() as connection:
        assert connection.execute("SELECT count(*), sum(amount) FROM payments").fetchall() == [(1000, 499500)]


def test_a_database_that_is_away_costs_no_attempt(
    postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = rows_handler(monkeypatch, tmp_path)
    (tmp_path / "a.csv").write_text("name,amount\nn,1\n")
    request = UploadRequest(app_id="ex", type="text", uri=(tmp_path / "a.csv").as_uri(), id="one", key="k")
    monkeypatch.setenv("PGHOST", str(tmp_path / "nowhere"))
    with pytest.raises(StoreUnavailableError, match="the database must be there and let us in"):
        asyncio.run(handler(request))
