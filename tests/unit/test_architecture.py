"""docs/architecture.md: a reader who follows one of its paths arrives."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_every_path_that_the_page_names_exists() -> None:
    paths = re.findall(r"`((?:src|tests|docs|scripts)/[\w./-]*)`", PAGE)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_room_of_the_house_is_in_the_picture() -> None:
    house = ROOT / "src" / "upswell"
    rooms = {path.name for path in house.iterdir() if (path / "__init__.py").is_file()}
    picture = PAGE[PAGE.index("## The rooms") : PAGE.index("## Where do I find")]
    assert {room for room in rooms if not re.search(rf"\b{room}\b", picture)} == set()
