"""One look for every figure: colours, markers, hatches and words for arms, corruptions and structures.

Enters: the short names used in tables (`scratch`, `gaussian_noise`, `left_kidney`). Leaves: what is printed or drawn
for them. The wording of the arms follows Tables 1, 2 and 4 of the paper ('Normal training', 'Self-supervised'). Every
arm differs from the others by colour, by lightness (it survives a grey print), by hatch and by marker, so that no
reading depends on colour alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH = 7.2
"""Width of every figure in inches: shown 454 CSS pixels wide, words of 10.5 points are 9 pixels high."""

DPI = 110
INK = "#222222"
FAINT = "#5f6368"
RED = "#c00000"

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 12,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "hatch.linewidth": 1.0,
    "hatch.color": "white",
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.titlesize": 14,
    "figure.titleweight": "bold",
    "figure.labelsize": 10.5,
}


@dataclass(frozen=True)
class ArmStyle:
    """How one arm is drawn."""

    colour: str
    hatch: str
    marker: str
    line: Any


_ARM_STYLES = {
    "scratch": ArmStyle("#e69f00", "", "o", "-"),
    "jigsaw": ArmStyle("#00588c", "///", "s", (0, (6, 1.5))),
    "scratch_aa": ArmStyle("#808080", "...", "^", ":"),
}
# found by a search: any two of the eight differ by 21 units of CIEDE2000 or more, to normal, red- and green-blind eyes
_FURTHER_ARM_STYLES = (
    ArmStyle("#602020", "\\\\\\", "D", "-."),
    ArmStyle("#6080ff", "xxx", "v", (0, (3, 1, 1, 1, 1, 1))),
    ArmStyle("#20dfff", "|||", "P", (0, (1, 1))),
    ArmStyle("#9f6000", "---", "X", (0, (8, 2, 2, 2))),
    ArmStyle("#80dfbf", "ooo", "<", (0, (4, 4))),
)
_ARM_LABELS = {
    "scratch": "Normal training",
    "jigsaw": "Self-supervised (jigsaw)",
    "scratch_aa": "A/A: normal training again",
}
_CORRUPTION_TITLES = {
    "clean": "Clean",
    "gaussian_noise": "Gaussian noise",
    "shot_noise": "Shot noise",
    "impulse_noise": "Impulse noise",
    "contrast": "Contrast",
    "brightness": "Brightness",
    "gaussian_blur": "Gaussian blur",
    "resolution": "Resolution",
}
_STRUCTURE_COLOURS = {
    "liver": "#b5541c",
    "spleen": "#9e4bc9",
    "pancreas": "#e6ab02",
    "gallbladder": "#c6d800",
    "urinary_bladder": "#fff68f",
    "aorta": "#e8262a",
    "trachea": "#00ced1",
    "right_lung": "#2a86c8",
    "left_lung": "#a6d3ef",
    "sternum": "#f781bf",
    "thyroid": "#ff7f00",
    "first_lumbar_vertebra": "#f2c9a1",
    "right_kidney": "#2fa52b",
    "left_kidney": "#b9e68f",
    "right_adrenal": "#e0207f",
    "left_adrenal": "#fbb4d9",
    "right_psoas": "#0b8378",
    "left_psoas": "#8ad8cc",
    "right_rectus_abdominis": "#5c5cff",
    "left_rectus_abdominis": "#cfc4ff",
}
_FURTHER_STRUCTURE_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#4f9be0", "#f2b8a0")


def paper_label(init: str) -> str:
    """Words for an arm, after the paper's tables; a name the paper does not have is spelled out.

    Examples
    --------
    >>> paper_label("scratch")
    'Normal training'
    >>> paper_label("rotation")
    'Self-supervised (rotation)'
    >>> paper_label("jigsaw_same_data")
    'Self-supervised (jigsaw, same data)'
    >>> paper_label("scratch_augmented")
    'Normal training (augmented)'
    """
    if init in _ARM_LABELS:
        return _ARM_LABELS[init]
    for family, words in (("scratch_", "Normal training ("), ("jigsaw_", "Self-supervised (jigsaw, ")):
        if init.startswith(family):
            return words + init.removeprefix(family).replace("_", " ") + ")"
    return f"Self-supervised ({init.replace('_', ' ')})"


def order_arms(inits: Iterable[str]) -> list[str]:
    """Unique arms in the order of drawing: normal training, its A/A arm, jigsaw, then the others by name."""
    known = ["scratch", "scratch_aa", "jigsaw"]
    present = set(inits)
    return [name for name in known if name in present] + sorted(present.difference(known))


def arm_styles(inits: Iterable[str]) -> dict[str, ArmStyle]:
    """Style of each arm: fixed for the study's own arms, by turn for further ones (alphabetical order)."""
    styles, turn = {}, 0
    for name in order_arms(inits):
        if name in _ARM_STYLES:
            styles[name] = _ARM_STYLES[name]
        else:
            styles[name] = _FURTHER_ARM_STYLES[turn % len(_FURTHER_ARM_STYLES)]
            turn += 1
    return styles


def order_corruptions(names: Iterable[str]) -> list[str]:
    """Unique corruptions, 'clean' first, then the seven of the paper in its order of naming, then others by name."""
    present = set(names)
    return [name for name in _CORRUPTION_TITLES if name in present] + sorted(present.difference(_CORRUPTION_TITLES))


def corruption_title(name: str, *, wrap: bool = False) -> str:
    """'gaussian_noise' -> 'Gaussian noise'; with `wrap`, one word a line (narrow columns)."""
    title = _CORRUPTION_TITLES.get(name, name.replace("_", " ").capitalize())
    return title.replace(" ", "\n") if wrap else title


def corruption_word(name: str) -> str:
    """'shot_noise' -> 'shot noise', for within a sentence; Gauss keeps his capital."""
    title = corruption_title(name)
    return title if title.startswith("Gaussian") else title[0].lower() + title[1:]


_METRIC_TITLES = {
    "accuracy": "Accuracy",
    "auroc": "AUROC",
    "auroc placements": "AUROC (signed-rank test of placements)",
    "dice": "Dice",
    "missed": "Share of structures missed",
    "balanced_accuracy": "Balanced accuracy",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "surface_dice": "Surface Dice",
    "hd95_mm": "HD95, mm",
    "hd95_undefined": "Structures without HD95",
    "flipped": "Voxels given to another structure",
    "mirrored": "Voxels given to the mirror image",
    "feature_distance": "Distance of the features",
    "feature_cosine": "Cosine of the features",
}


def metric_title(name: str, role: str = "home") -> str:
    """Words for a metric; a gap is the change from clean images, or at another centre from the home set.

    Examples
    --------
    >>> metric_title("auroc")
    'AUROC'
    >>> metric_title("dice gap", "external")
    'Dice, change from the home set'
    """
    if name.endswith(" gap"):
        origin = "clean images" if role == "home" else "the home set"
        return f"{metric_title(name.removesuffix(' gap'))}, change from {origin}"
    return _METRIC_TITLES.get(name, name.replace("_", " ").capitalize())


def structure_title(name: str) -> str:
    """'left_kidney' -> 'left kidney'."""
    return name.replace("_", " ")


def structure_colours(names: Sequence[str]) -> np.ndarray:
    """Colours of structures, one row per name; left and right of a pair share a hue and differ in lightness.

    Returns
    -------
    float64 (len(names), 3) in [0, 1], RGB. Structures outside the 20 of VISCERAL take further colours by turn.
    """
    from matplotlib.colors import to_rgb

    colours, turn = [], 0
    for name in names:
        if name in _STRUCTURE_COLOURS:
            colours.append(to_rgb(_STRUCTURE_COLOURS[name]))
        else:
            colours.append(to_rgb(_FURTHER_STRUCTURE_COLOURS[turn % len(_FURTHER_STRUCTURE_COLOURS)]))
            turn += 1
    return np.asarray(colours, dtype=float).reshape(len(names), 3)


def format_p(p: float | None) -> str:
    """A p value as printed: 'p < 0.001', 'p = 0.0012', 'p = 0.012', 'p = 0.12', or 'no test' where there is none.

    Raises
    ------
    ValueError
        For a p outside [0, 1].
    """
    if p is None or np.isnan(p):
        return "no test"
    if not 0 <= p <= 1:
        raise ValueError(f"expected a p value in [0, 1], got {p}: check the comparison it comes from")
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p_digits(p)}"


def p_digits(p: float) -> str:
    """Two significant digits, two decimals from 0.1 on: '0.0012', '0.012', '0.12', '1.00'."""
    return f"{p:#.2g}" if p < 0.0995 else f"{p:.2f}"


def p_colour(p: float | None) -> str:
    """Red for p < 0.001, as in Figures 3 and 4 of the paper; ink otherwise."""
    return RED if p is not None and p < 0.001 else INK
