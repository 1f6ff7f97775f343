"""What a transform in someone else's pipeline is told: a strength, or a severity and five strengths.

Enters: the arguments of a transform. Leaves: the strength, and the word for the severity in the images' random keys.
"""

from collections.abc import Sequence

from ssrobust_lib.corruptions.entrance import check_strength
from ssrobust_lib.corruptions.interface import CORRUPTIONS
from ssrobust_lib.corruptions.published_strengths import IMAGENET_C_STRENGTHS

BY_STRENGTH = "strength"  # stands for the severity in the keys of a transform that is given a strength


def choose_strength(
    name: str, strength: float | None, severity: int | None, strengths: Sequence[float] | None
) -> tuple[float, int | str]:
    """Look up the strength of a severity, or check the strength given.

    Parameters
    ----------
    name : str
        In `CORRUPTIONS`.
    strength : float, optional
    severity : int in 0..5, optional
        Exactly one of the two; 0 is clean.
    strengths : five floats, optional
        Of severities 1 to 5; those of ImageNet-C where not given.

    Returns
    -------
    strength : float
    in_key : int or str
        The severity, or `BY_STRENGTH`: two strengths then share their random numbers.

    Raises
    ------
    UnknownNameError
        Where no corruption has that name.
    ValueError
        Both or none given; a severity outside 0 to 5, a strength outside the declared range, not five strengths.
    """
    corruption = CORRUPTIONS[name]
    if (strength is None) == (severity is None):
        raise ValueError(f"{name}: expected either a strength or a severity, got {strength=} and {severity=}")
    if severity is None:
        return check_strength(corruption, strength), BY_STRENGTH
    if isinstance(severity, bool) or severity not in range(6):
        raise ValueError(f"severity: expected a whole number from 0 (clean) to 5, got {severity!r}")
    levels = tuple(IMAGENET_C_STRENGTHS.get(name, ()) if strengths is None else strengths)
    if len(levels) != 5:
        raise ValueError(f"strengths of {name}: expected five, for severities 1 to 5, got {len(levels)}")
    return check_strength(corruption, (0.0, *levels)[severity]), severity
