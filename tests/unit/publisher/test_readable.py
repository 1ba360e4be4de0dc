"""What workers may not read is said when it is published, not by dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upswell.errors import UpswellError
from upswell.publisher.readable import check_readable, check_source
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_without_source_roots_files_are_refused_with_the_line_to_export(tmp_path: Path) -> None:
    folder = tmp_path / "my photos"
    folder.mkdir()
    (folder / "a.jpg").touch()
    for argument in (folder, folder / "a.jpg"):
        with pytest.raises(UpswellError) as caught:
            check_readable(Settings(), [str(argument)])
        assert str(caught.value).endswith(f": export UPSWELL_SOURCE_ROOTS='{folder}'")


def test_the_line_to_export_names_the_folder_of_all_sources(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    with pytest.raises(UpswellError, match=f"UPSWELL_SOURCE_ROOTS={tmp_path}$"):
        check_readable(Settings(), [str(tmp_path / "a"), str(tmp_path / "b"), "https://host/x"])


def test_whoever_reads_by_other_means_needs_no_source_roots(tmp_path: Path) -> None:
    assert check_readable(Settings(handler="mine:f"), [str(tmp_path)]) == []
    assert check_readable(Settings(), ["https://host/x"]) == []
    check_source(Settings(handler="mine:f"), "/x/y")


def test_what_lies_elsewhere_is_one_warning_however_many_files(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    settings = Settings(source_roots=[str(tmp_path / "in")], source_stores=["s3://mine/"])
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), str(tmp_path), "s3://mine/a", "s3://other/b"]
    files, objects = check_readable(settings, arguments)
    assert files.startswith(
        f"workers may not read {tmp_path / 'out'} and 1 more, which is not below source_roots"
    )
    assert objects == "workers may not read s3://other/b, which is not below source_stores (s3://mine/)"
