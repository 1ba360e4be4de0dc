from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from upswell.cli.data import upload
from upswell.cli.data.upload import split_destination
from upswell.errors import PermanentUploadError, TemporaryUploadError, UpswellError
from upswell.handlers import Stored
from upswell.messages import UploadRequest
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = UploadRequest(app_id="upload", type="file", uri="file:///x", id="r", key="k")


@pytest.mark.parametrize(
    ("source", "destination", "top", "key"),
    [
        ("a/b.jpg", "s3://bucket", "s3://bucket", "b.jpg"),
        ("a/b.jpg", "s3://bucket/", "s3://bucket", "b.jpg"),
        ("a/b.jpg", "s3://bucket/x/", "s3://bucket/x", "b.jpg"),
        ("a/b.jpg", "s3://bucket/x", "s3://bucket", "x"),
        ("https://host/a/b.jpg?size=1", "gs://bucket/x/", "gs://bucket/x", "b.jpg"),
        ("file:///a%20b.jpg", "az://box/x/c.jpg", "az://box/x", "c.jpg"),
        ("b.jpg", "/nowhere/x.jpg", "/nowhere", "x.jpg"),
        ("b.jpg", "/nowhere/x/", "/nowhere/x", "b.jpg"),
        ("file:///a%20b.jpg", "file:///nowhere/", "/nowhere", "a b.jpg"),
    ],
)
def test_a_destination_means_what_it_means_to_cp(source: str, destination: str, top: str, key: str) -> None:
    assert split_destination(destination, source) == (top, key)


def test_a_folder_that_is_there_needs_no_slash(tmp_path: Path) -> None:
    assert split_destination(str(tmp_path), "b.jpg") == (str(tmp_path), "b.jpg")


def run(*errors: Exception, delivery_limit: int = 5) -> tuple[Stored | None, int]:
    left = list(errors)

    async def handler(_request: UploadRequest) -> Stored:
        if left:
            raise left.pop(0)
        return Stored("k", 1)

    settings = Settings(retry_backoff=0.0, delivery_limit=delivery_limit)
    return asyncio.run(upload._upload(handler, REQUEST, settings))


def test_what_may_pass_is_tried_again_and_the_attempts_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(TemporaryUploadError("busy"), TemporaryUploadError("busy")) == (Stored("k", 1), 3)
    assert capsys.readouterr().err.splitlines() == [
        "attempt 1 failed: busy; retrying in 0ms",
        "attempt 2 failed: busy; retrying in 0ms",
    ]


def test_the_last_attempt_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UpswellError, match="busy; gave up after 2 attempts"):
        run(*[TemporaryUploadError("busy")] * 9, delivery_limit=2)


def test_what_never_succeeds_is_tried_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PermanentUploadError, match="never"):
        run(PermanentUploadError("never"))
    assert capsys.readouterr().err == ""
