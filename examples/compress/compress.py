"""A handler that stores files compressed: `upswell worker --handler compress:gzipped` (or `compress:xz`).

What comes in: a request for any file. What goes out: the same bytes compressed, under the request's key with
`.gz` or `.xz` at its end. Memory is bounded: what does not fit into `IN_MEMORY` goes to a temporary file.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from upswell import Context, Stored, UploadRequest

IN_MEMORY = 8 * 1024 * 1024


def gzipped(request: UploadRequest, context: Context) -> Stored:
    """Compress quickly; the same bytes always give the same object, so no time stands in its header."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as made:
        with (
            context.open_source() as source,
            gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=0) as target,
        ):
            shutil.copyfileobj(source, target)  # each read ends early when the worker has to leave
        return context.store(cast("BinaryIO", made), f"{request.key}.gz")


def xz(request: UploadRequest, context: Context) -> Stored:
    """Compress well."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as made:
        with context.open_source() as source, lzma.LZMAFile(made, "wb") as target:
            shutil.copyfileobj(source, target)
        return context.store(cast("BinaryIO", made), f"{request.key}.xz")
