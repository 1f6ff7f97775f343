"""What a strength means on a grid of stated size: in pixels, in mm, in words; and noise on another grid.

Enters: strengths in the units of `CORRUPTIONS`, the longer side of an image in pixels, the side of a pixel in mm.
Leaves: lengths, strengths, sentences for captions. Blur and resolution are fractions of the image's longer side and so
mean the same at any size. Contrast and brightness do not depend on the size. Noise is per pixel: a scanner's dose
reaches a square millimetre, so the same dose on a coarser grid is less noise per pixel; nothing converts it silently.
"""

from collections.abc import Callable
from dataclasses import dataclass

STATED_SIDE = 224  # pixels: the side for which ImageNet-C states its strengths, used where no other is stated
_SCALED_NOISES = ("gaussian_noise", "shot_noise")


@dataclass(frozen=True)
class StatedImage:
    """An image that a strength is put into words for.

    Attributes
    ----------
    side : int or None
        Its longer side in pixels; None where the words should hold for any image.
    pixel_mm : float or None
        Side of a pixel in mm, where it is known.
    """

    side: int | None = None
    pixel_mm: float | None = None

    def __post_init__(self) -> None:
        if self.side is not None:
            _check_positive("side, in pixels", self.side)
        if self.pixel_mm is not None:
            _check_positive("pixel_mm, in mm", self.pixel_mm)


Words = Callable[[float, StatedImage], str]


def kept_pixels(side: int, strength: float) -> int:
    """Pixels along a side of the small image: the whole part of side (1 - strength), at least one."""
    return max(1, int(side * (1 - strength) + 1e-6))


def blur_sigma_mm(strength: float, side: int, pixel_mm: float) -> float:
    """Standard deviation in mm of a Gaussian blur of that strength on an image of `side` pixels of `pixel_mm`."""
    _check_positive("side, in pixels", side)
    _check_positive("pixel_mm, in mm", pixel_mm)
    return strength * side * pixel_mm


def blur_strength(sigma_mm: float, side: int, pixel_mm: float) -> float:
    """Strength of the Gaussian blur with that standard deviation in mm; the inverse of `blur_sigma_mm`."""
    return sigma_mm / blur_sigma_mm(1.0, side, pixel_mm)


def resolution_mm(strength: float, side: int, pixel_mm: float) -> float:
    """Side in mm of the large pixels that 'resolution' leaves of an image of `side` pixels of `pixel_mm`."""
    _check_positive("side, in pixels", side)
    _check_positive("pixel_mm, in mm", pixel_mm)
    return pixel_mm * side / kept_pixels(side, strength)


def resolution_strength(large_mm: float, pixel_mm: float) -> float:
    """Strength of 'resolution' that leaves pixels of about `large_mm`: the whole number of pixels nearest below.

    Raises
    ------
    ValueError
        Where the pixels asked for are smaller than those that are there.
    """
    _check_positive("pixel_mm, in mm", pixel_mm)
    if not large_mm >= pixel_mm:
        raise ValueError(f"large_mm: expected at least the pixel's {pixel_mm:g} mm, got {large_mm:g}")
    return 1 - pixel_mm / large_mm


def noise_at_side(name: str, strength: float, *, from_side: int, to_side: int) -> float:
    """Strength per pixel on another grid of the noise that has `strength` per pixel on this one.

    Averaging over areas of (from_side / to_side)**2 pixels divides the standard deviation of independent noise by
    from_side / to_side, and multiplies the photons of a pixel by the square of it; `shot_noise` is measured in
    1 / sqrt(photons), so both strengths scale with the number of pixels along a side. Exact as long as nothing is
    clipped at 0 or 1. To a finer grid it answers which noise there averages to this one.

    Raises
    ------
    ValueError
        Where the corruption has no such rule: an averaged salt or pepper pixel is neither black nor white, and the
        other corruptions hold for any grid.
    """
    if name not in _SCALED_NOISES:
        raise ValueError(
            f"{name}: expected one of {', '.join(_SCALED_NOISES)}; no other strength changes with the grid"
        )
    _check_positive("from_side, in pixels", from_side)
    _check_positive("to_side, in pixels", to_side)
    return strength * to_side / from_side


def in_pixels_of(words: Callable[[float], str]) -> Words:
    """Add to the words of a noise whose pixels it is counted in, where that is stated."""

    def describe(strength: float, image: StatedImage) -> str:
        said = words(strength)
        if image.side is None:
            return said
        size = f" of {image.pixel_mm:g} mm" if image.pixel_mm is not None else ""
        return f"{said}, per pixel{size} at {image.side} x {image.side}"

    return describe


def photons_in_words(strength: float) -> str:
    """'12 photons at full intensity' for 1 / sqrt(12)."""
    if not strength:
        return "no limit on photons"
    number = f"{strength**-2:.3g}"
    return f"{number} photon{'' if number == '1' else 's'} at full intensity"


def blur_in_words(strength: float, image: StatedImage) -> str:
    """Standard deviation of a blur in pixels, and in mm where a pixel's size is known."""
    side = image.side or STATED_SIDE
    said = f"sigma {side * strength:.3g} pixels at {side} x {side}"
    return said if image.pixel_mm is None else f"{said} ({blur_sigma_mm(strength, side, image.pixel_mm):.3g} mm)"


def resolution_in_words(strength: float, image: StatedImage) -> str:
    """Pixels that are kept, and their size in mm where a pixel's size is known."""
    side = image.side or STATED_SIDE
    large = "" if image.pixel_mm is None else f" ({resolution_mm(strength, side, image.pixel_mm):.3g} mm each)"
    return f"{kept_pixels(side, strength)} of {side} pixels{large} kept along a side, then enlarged again"


def _check_positive(what: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{what}: expected a number above 0, got {value!r}")
