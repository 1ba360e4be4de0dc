"""Columns of numbers from a CSV file, plain or gzipped.

In: a path and the names of columns in its header. Out: one array a column. It does not know what they mean.
"""

from __future__ import annotations

import gzip
import zlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from upswell.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_columns(path: str | Path, *names: str) -> list[NDArray[np.float64]]:
    """Return the columns of these names, each as long as the file has rows (maybe none).

    Raises:
        TraceError: the file cannot be read or unpacked, lacks a column, or holds what is no number.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            header = [name.strip() for name in file.readline().split(",")]
            wanted = [_index(header, name, path) for name in names]
            rows = (line for line in file if line.strip())
            first = next(rows, None)
            if first is None:
                return [np.empty(0) for _ in names]
            table = np.loadtxt(chain([first], rows), delimiter=",", usecols=wanted, ndmin=2, comments=None)
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise TraceError(f"the trace is not a complete gzip file: {path}: {error}") from error
    except (ValueError, IndexError) as error:
        raise TraceError(f"the trace must contain numbers: {path}: {error}") from error
    return [table[:, column].copy() for column in range(len(names))]


def _open(path: Path) -> TextIO:
    """Open for reading; some spreadsheets begin a file with a byte order mark."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _index(header: list[str], name: str, path: Path) -> int:
    if name not in header:
        found = ", ".join(header) if any(header) else "no header"
        raise TraceError(f"the trace must have a column {name!r}: {path} has {found}")
    return header.index(name)
