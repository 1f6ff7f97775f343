"""PNG and JPEG: pictures of any mode become grey, and what is no picture, or would grow without end, is left."""

from pathlib import Path

import numpy as np
import pytest
from format_files import jpeg, picture_bytes
from layouts import write_pictures, xray

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import read_picture


def test_pictures_that_would_grow_without_end_are_left(tmp_path: Path) -> None:
    small = picture_bytes(xray(), "PNG")
    place = small.index(b"IHDR") + 4
    import struct
    import zlib

    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (16_000, 16_000), (0, 5)):
        header = struct.pack(">2I", width, height) + small[place + 8 : place + 13]
        check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
        (tmp_path / "bomb.png").write_bytes(small[:place] + header + check + small[place + 17 :])
        with pytest.raises(UnreadableImageError, match="bomb.png: "):
            read_picture(tmp_path / "bomb.png")
    stream = jpeg(xray())
    place = stream.index(b"\xff\xc0") + 5
    (tmp_path / "bomb.jpeg").write_bytes(stream[:place] + b"\xff\xff\xff\xff" + stream[place + 4 :])
    with pytest.raises(UnreadableImageError, match="bomb.jpeg: "):
        read_picture(tmp_path / "bomb.jpeg")
    progressive = jpeg(xray(), progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    (tmp_path / "scans.jpeg").write_bytes(progressive[:-2] + scan * 1000 + b"\xff\xd9")
    with pytest.raises(UnreadableImageError, match="more than 256 scans"):
        read_picture(tmp_path / "scans.jpeg")


def test_only_png_and_jpeg_are_ever_decoded_as_pictures(tmp_path: Path) -> None:
    """Pillow would hand PostScript to an interpreter."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UnreadableImageError, match="a.png: not readable"):
        read_picture(tmp_path / "a.png")


def test_pictures_of_any_mode_become_grey(tmp_path: Path) -> None:
    from PIL import Image

    grey = Image.fromarray(xray())
    for mode in ("L", "RGB", "RGBA"):
        grey.convert(mode).save(tmp_path / "a.png")
        np.testing.assert_allclose(read_picture(tmp_path / "a.png").pixels, xray() / 255, atol=1e-6)
    deep = xray().astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "b.png")
    np.testing.assert_allclose(read_picture(tmp_path / "b.png").pixels, deep / 65_535, atol=1e-6)


def test_a_picture_cut_short_or_empty_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    write_pictures(tmp_path, ["a.jpeg"])
    path = tmp_path / "a.jpeg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UnreadableImageError, match="a.jpeg"):
        read_picture(path)
    Image.new("L", (20, 20), 7).save(tmp_path / "flat.png")
    with pytest.raises(UnreadableImageError, match="all pixels have one value"):
        read_picture(tmp_path / "flat.png")
