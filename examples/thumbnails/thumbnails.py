"""Sizes and thumbnails of pictures."""

import io

from PIL import Image

from lance_backfill import udf

LONGEST_SIDE = 96


@udf
def width(picture: bytes) -> int:
    """Pixels of a row; only the head of the picture is decoded."""
    with Image.open(io.BytesIO(picture)) as image:
        return image.width


@udf
def height(picture: bytes) -> int:
    """Pixels of a column."""
    with Image.open(io.BytesIO(picture)) as image:
        return image.height


@udf(row_timeout=60)
def thumbnail(picture: bytes) -> bytes:
    """The picture as WebP, so that it fits into a square."""
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    made = io.BytesIO()
    small.save(made, "WEBP")
    return made.getvalue()
