"""Which structures are the left and the right of one organ, by their names.

Enters: names of structures. Leaves: pairs (section 3.3 of the paper: labels that change from one organ to another).
"""

from collections.abc import Iterable


def mirror_images(names: Iterable[str]) -> dict[str, str]:
    """Pair structures whose names differ by their side: right_kidney and left_kidney, kidney_right and kidney_left.

    Returns
    -------
    {name: name of its mirror image}; structures without one are left out
    """
    known = set(names)
    pairs = {}
    for name in known:
        for side, other in (("right", "left"), ("left", "right")):
            parts = name.split("_")
            for place in (0, -1):
                if len(parts) > 1 and parts[place] == side:
                    mirrored = "_".join([other, *parts[1:]] if place == 0 else [*parts[:-1], other])
                    if mirrored in known:
                        pairs[name] = mirrored
    return pairs
