from __future__ import annotations

import pytest

from upswell.errors import UpswellError
from upswell.publisher.tree import Selection


@pytest.mark.parametrize(
    ("include", "exclude", "name", "taken"),
    [
        ([], [], "a/b.jpg", True),
        (["*.jpg"], [], "a/b.jpg", True),
        (["*.jpg"], [], "a/b.png", False),
        (["*.jpg", "*.png"], [], "a/b.png", True),
        (["/2026/"], [], "2026/a.jpg", True),
        (["/2026/"], [], "old/2026/a.jpg", False),
        (["2026/**/*.jpg"], [], "2026/a/b/c.jpg", True),
        ([], ["*.tmp"], "a/b.tmp", False),
        ([], ["raw/"], "a/raw/x/b.jpg", False),
        ([], ["raw/"], "a/raw", True),  # a file of that name is no folder
        (["*.jpg"], ["private*"], "private.jpg", False),  # what is excluded stays out
        ([], ["*.jpg", "!keep.jpg"], "a/keep.jpg", True),
        ([], ["[ab]?.txt"], "b1.txt", False),
        ([], ["a*"], "new\nline", True),
        (["*.jpg"], [], "\udcff.jpg", True),  # a name that is no UTF-8
    ],
)
def test_patterns_mean_what_they_mean_in_a_gitignore_file(
    include: list[str], exclude: list[str], name: str, taken: bool
) -> None:
    assert Selection(include, exclude).takes(name) is taken


def test_a_folder_is_left_out_with_all_below_it() -> None:
    assert Selection(exclude=["raw/"]).leaves_out("a/raw/")
    assert not Selection(exclude=["raw/"]).leaves_out("a/rawer/")


@pytest.mark.parametrize("pattern", ["", "  ", "# a comment", "!"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UpswellError, match=r"a pattern must be valid in \.gitignore"):
        Selection([pattern])
