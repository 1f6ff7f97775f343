"""Pictures as addresses that hold the picture itself, in full size or reduced in steps.

What enters: picture files of the rendered book. What leaves: for each width of `WIDTHS`, every picture as a `data:`
address. The report in one file (`single_file`) takes the first width with which it is light enough.
"""

import base64
import io
import mimetypes
from collections.abc import Iterator, Sequence
from pathlib import Path

WIDTHS = (None, 1600, 1200, 900, 600)
"""Widths in pixels that pictures are reduced to, in the order of trying; None leaves them as they are."""

_QUALITY = 80  # of WebP, where a picture is reduced: letters of charts stay sharp


def embedded_pictures(paths: Sequence[Path]) -> Iterator[tuple[int | None, dict[Path, str]]]:
    """Yield (largest width in pixels or None, path -> `data:` address) for each of `WIDTHS`.

    Raises
    ------
    FileNotFoundError
        A picture is missing.
    """
    for width in WIDTHS:
        yield width, {path: _address(path, width) for path in paths}


def _address(path: Path, width: int | None) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    content = path.read_bytes()
    if width is not None and kind in ("image/png", "image/jpeg"):
        smaller = reduced(content, width)
        if len(smaller) < len(content):
            kind, content = "image/webp", smaller
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def reduced(content: bytes, width: int) -> bytes:
    """The same picture as WebP, at most `width` pixels wide; its shape stays."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        colours = picture.convert("RGBA" if "transparency" in picture.info or "A" in picture.getbands() else "RGB")
    if colours.width > width:
        height = max(1, round(colours.height * width / colours.width))
        colours = colours.resize((width, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    colours.save(written, "WEBP", quality=_QUALITY, method=4)
    return written.getvalue()
