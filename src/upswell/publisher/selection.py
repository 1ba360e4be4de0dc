"""Which files of a directory are meant: patterns to include and to exclude, as in a .gitignore file.

What comes in: patterns that a person typed. What goes out: yes or no for a name relative to the top, with `/`
between its parts. The only importer of `pathspec`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from upswell.errors import UpswellError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Selection:
    """Takes what matches an `include` pattern (all, where there is none) and no `exclude` pattern."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Compile the patterns.

        Raises:
            UpswellError: one is none.
        """
        self._include = _compile(include)
        self._exclude = _compile(exclude)

    def takes(self, name: str) -> bool:
        """Return whether a file is meant."""
        included = self._include is None or self._include.match_file(name)
        return included and not self.leaves_out(name)

    def leaves_out(self, name: str) -> bool:
        """Return whether a file, or with a slash at its end a directory and all below it, is excluded."""
        return self._exclude is not None and self._exclude.match_file(name)


def _compile(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#"):
            raise UpswellError(f"a pattern must be one as in a .gitignore file, got {pattern!r}")
    try:
        return GitIgnoreSpec.from_lines(patterns) if patterns else None
    except ValueError as error:
        raise UpswellError(f"a pattern must be one as in a .gitignore file: {error}") from error
