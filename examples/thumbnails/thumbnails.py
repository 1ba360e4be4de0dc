"""A handler that stores a small picture of each picture: `upswell worker --handler thumbnails:thumbnail`.

What comes in: a request for an image. What goes out: a JPEG of at most 256 x 256 pixels in the destination,
under the request's key with `.thumb.jpg` at its end. A file that is no image is dead-lettered at once.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from upswell import PermanentUploadError, Stored

if TYPE_CHECKING:
    from upswell import Context, UploadRequest

LARGEST = (256, 256)
MAX_BYTES = 64 * 1024 * 1024
Image.MAX_IMAGE_PIXELS = 50_000_000  # a small file may unfold to gigabytes
warnings.simplefilter("error", Image.DecompressionBombWarning)  # Pillow only warns at first


def thumbnail(request: UploadRequest, context: Context) -> Stored:
    """Read the image, make it small, store it. A plain function: it runs in a thread of its own."""
    with context.open_source() as source:
        body = source.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise PermanentUploadError(f"an image must be at most {MAX_BYTES} bytes, got {request.uri}")
    return context.store(small(body), f"{request.key}.thumb.jpg")


def small(body: bytes) -> bytes:
    """Return a JPEG of at most `LARGEST` pixels, turned as its camera says, without its metadata.

    Raises:
        PermanentUploadError: no image, a broken one, or one with too many pixels.
    """
    try:
        with Image.open(io.BytesIO(body)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail(LARGEST)
            made = io.BytesIO()
            upright.save(made, "JPEG", quality=85)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PermanentUploadError(f"an image must not unfold to so much: {error}") from error
    except UnidentifiedImageError as error:  # its own text holds an address in memory
        raise PermanentUploadError("not an image that Pillow can read") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's, for broken files
        raise PermanentUploadError(f"a broken image: {error}") from error
    return made.getvalue()
