"""Lists in sentences: 'a, b and c', 'all 7 corruptions', '5 of 7 corruptions (all but a and b)'.

Enters: words in their order. Leaves: text for the readings of results.
"""

from collections.abc import Sequence

from ssrobust_lib.figures import counted


def listed(words: Sequence[str]) -> str:
    """Join words: 'none', 'a', 'a and b', 'a, b and c'.

    Examples
    --------
    >>> listed(["contrast", "brightness", "resolution"])
    'contrast, brightness and resolution'
    >>> listed([])
    'none'
    """
    return (f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)) or "none"


def chosen_of(chosen: Sequence[str], everything: Sequence[str], what: str) -> str:
    """Say how many of a kind are chosen and which, by the shorter list.

    Parameters
    ----------
    chosen : some of `everything`, in its order.
    what : one of them ('corruption').

    Examples
    --------
    >>> chosen_of(["blur"], ["blur", "noise", "contrast"], "corruption")
    '1 of 3 corruptions (blur)'
    >>> chosen_of(["blur", "noise"], ["blur", "noise", "contrast"], "corruption")
    '2 of 3 corruptions (all but contrast)'
    >>> chosen_of(["blur", "noise"], ["blur", "noise"], "corruption")
    'all 2 corruptions'
    """
    of = counted(len(everything), what)
    if len(chosen) == len(everything) > 1:
        return f"all {of}"
    left = [word for word in everything if word not in chosen]
    which = f"all but {listed(left)}" if 0 < len(left) < len(chosen) else listed(chosen)
    return f"{len(chosen)} of {of} ({which})"
