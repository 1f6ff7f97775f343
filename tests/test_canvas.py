"""Pictures of the book: half as heavy as they were drawn, and still the same to the eye."""

import base64
import io
import re

import numpy as np
from PIL import Image

from ssrobust_lib.figures.canvas import finish, new_figure, with_palette


def noisy_figure():
    figure = new_figure(3.0)
    axes = figure.add_subplot()
    axes.imshow(np.random.default_rng(0).normal(size=(96, 96)), cmap="viridis")
    return finish(figure, "Noise", "phantoms")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_picture_in_the_book_weighs_half_and_looks_the_same():
    figure = noisy_figure()
    drawn = figure.png(caption=False)
    shown = base64.b64decode(re.search(r"base64,([^\"]+)", figure.html())[1])
    assert len(shown) < 0.6 * len(drawn)
    assert np.abs(pixels(shown) - pixels(drawn)).mean() < 0.5
    assert noisy_figure().html() == noisy_figure().html()


def test_up_to_256_colours_are_kept_as_they_are():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stream = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(stream, "PNG")
    np.testing.assert_array_equal(pixels(with_palette(stream.getvalue()))[..., 0], grey)
