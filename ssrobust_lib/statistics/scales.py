"""How large a difference can be: the ends of a metric's scale.

Enters: the name of a metric. Leaves: the largest difference that two arms can have in it, and intervals that end there.
Accuracy, AUROC, Dice and shares lie between 0 and 1, so that two arms differ by 1 at most; the change of such a
difference, from clean images or from the home set, is 2 at most. The distance of features has no end.

Student's t knows of no scale: with three seeds that differ much, its interval may go beyond. No true difference lies
there, so that an interval that is cut at the ends covers the truth exactly as often. Statistic and p are untouched.
"""

import numpy as np

#: Metrics without an upper end.
UNBOUNDED = ("feature_distance",)


def largest_difference(metric: str) -> float:
    """Largest difference between two arms: 1, for a change of a difference ('dice gap', 'dice drop') 2, or infinite.

    Examples
    --------
    >>> largest_difference("dice"), largest_difference("accuracy gap"), largest_difference("feature_distance")
    (1.0, 2.0, inf)
    """
    if metric in UNBOUNDED:
        return np.inf
    return 2.0 if metric.endswith((" gap", " drop")) else 1.0


def cut_interval(low: float | None, high: float | None, largest: float) -> tuple[float | None, float | None]:
    """The part of an interval of a difference that lies within +-largest; None and NaN stay.

    Examples
    --------
    >>> cut_interval(-1.768, 1.101, 1.0)
    (-1.0, 1.0)
    """

    def cut(end: float | None) -> float | None:
        return None if end is None else float(np.clip(end, -largest, largest))

    return cut(low), cut(high)


def cut_interval_of_mean(low: float, high: float, metric: str) -> tuple[float, float]:
    """The part of an interval of a mean score that lies between 0 and 1; of a metric without an upper end it stays.

    Examples
    --------
    >>> cut_interval_of_mean(-0.2, 0.7, "dice"), cut_interval_of_mean(0.2, 1.7, "feature_distance")
    ((0.0, 0.7), (0.2, 1.7))
    """
    if metric in UNBOUNDED:
        return low, high
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
