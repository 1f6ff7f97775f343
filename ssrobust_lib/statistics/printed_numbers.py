"""Do the paper's own numbers agree with each other? Gains in points and percent, counts, floors (sections 3.1 to 3.4).

Enters: `ssrobust_lib.statistics.paper.paper_results`, and the published sizes of the sets. Leaves: tidy tables. A
printed number stands for every value that rounds to it, so that two numbers disagree only where no such values fit.
"""

from decimal import Decimal

import pandas as pd

from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.splits.label_rows import PUBLISHED_BOXES, PUBLISHED_ROWS

#: The gain that the text states -> the table's values that it is about, self-supervised and normal training.
STATED_GAINS = {
    "text.accuracy.gain": ("table1.accuracy.jigsaw", "table1.accuracy.scratch"),
    "text.auroc.gain": ("table1.auroc.jigsaw", "table1.auroc.scratch"),
    "text.dice.gain": ("table2.dice.jigsaw", "table2.dice.scratch"),
    "text.kits.gain": ("table4.dice.jigsaw", "table4.dice.scratch"),
}
AGREES, MISFIT, OTHER_UNIT, PART = "agrees", "does not fit", "counts another unit", "may be a part"
WEAKNESS = "fits, but weak"
FINDINGS = (AGREES, MISFIT, OTHER_UNIT, PART, WEAKNESS)
PRETEXT_SETS = ("cad_pe", "exact09", "lits", "luna16", "btcv", "chaos", "sliver07")
GAIN_COLUMNS = (
    "gain", "stated", "points", "points_low", "points_high", "percent", "percent_low", "percent_high", "as_points",
    "as_percent",
)  # fmt: skip


def rounding_range(printed: str) -> tuple[float, float]:
    """Values that round to a printed number: from half a unit of its last digit below to half a unit above.

    A bound such as '<0.001' stands for everything from 0 to it.

    Examples
    --------
    >>> rounding_range("0.002")
    (0.0015, 0.0025)
    >>> rounding_range("<0.001")
    (0.0, 0.001)

    Raises
    ------
    ValueError : no number is printed.
    """
    if printed.startswith("<"):
        return 0.0, float(printed[1:])
    if not printed:
        raise ValueError("expected a printed number, got an empty text: the paper prints none there")
    number = Decimal(printed.replace(",", ""))
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return float(number - half), float(number + half)


def overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two ranges share more than an end; 1e-9 is left for binary fractions."""
    return min(first[1], second[1]) - max(first[0], second[0]) > 1e-9


def gain_table(results: pd.DataFrame) -> pd.DataFrame:
    """Each stated gain beside the difference of the table's values, in points (100 x) and percent of normal training.

    Returns
    -------
    DataFrame with `GAIN_COLUMNS`: `gain` is the id of the statement, `stated` as printed; ranges are over all values
    that round to the printed ones; `as_points`, `as_percent`: whether the statement fits into that range.
    """
    by_id, rows = results.set_index("id"), []
    for gain, ids in STATED_GAINS.items():
        printed = [str(by_id.at[name, "printed"]) for name in ids]
        (arm, reference), ranges = (float(text) for text in printed), [rounding_range(text) for text in printed]
        (arm_low, arm_high), (low, high) = ranges
        stated = rounding_range(str(by_id.at[gain, "printed"]))
        points = (100 * (arm_low - high), 100 * (arm_high - low))
        percent = (100 * (arm_low / high - 1), 100 * (arm_high / low - 1))
        measured = (100 * (arm - reference), *points, 100 * (arm / reference - 1), *percent)
        fits = (overlap(stated, points), overlap(stated, percent))
        rows.append((gain, str(by_id.at[gain, "printed"]), *measured, *fits))
    return pd.DataFrame(rows, columns=list(GAIN_COLUMNS))


def label_balance() -> tuple[int, int, float, float]:
    """(images, rows of the label table, negative share of the images, of the rows) of the published X-ray set."""
    negative, images = PUBLISHED_BOXES[0], sum(PUBLISHED_BOXES.values())
    return images, PUBLISHED_ROWS, negative / images, negative / PUBLISHED_ROWS


def pretext_scans() -> dict[str, int]:
    """Published number of images of each of the seven sets that the paper names, from the manifests."""
    return {name: int(load_manifest(name).counts["images"]) for name in PRETEXT_SETS}


def disagreements(results: pd.DataFrame) -> pd.DataFrame:
    """Printed numbers beside what they ought to agree with.

    Returns
    -------
    DataFrame with `what`, `printed` (as in the paper), `beside` (what it is compared with, in words) and `finding`, one
    of `FINDINGS`: only *does not fit* is a contradiction.
    """
    by_id = results.set_index("id")

    def printed(name: str) -> str:
        return str(by_id.at[name, "printed"])

    def value(name: str) -> float:
        return float(by_id.at[name, "value"])

    images, label_rows, by_image, by_row = label_balance()
    labelled, silver = value("text.visceral.labelled"), value("text.visceral.silver")
    share, scans = 100 * labelled / silver, pretext_scans()
    largest, all_scans = max(scans, key=lambda name: scans[name]), sum(scans.values())
    cited = f"Figure {value('text.figure_reference'):g}"
    shows = sorted(set(results.loc[results["source"] == cited, "task"]))
    tested, pool = value("text.rsna.test"), value("text.pretext.scans")
    lowest = min(value("table1.accuracy.scratch"), value("table1.accuracy.jigsaw"))
    rows = [
        ("X-rays of the set", printed("text.rsna.images"),
         f"{images:,} images and {label_rows:,} label rows were published; a split of the rows leaves "
         f"{row_training_size():,} of them for training",
         AGREES if value("text.rsna.images") <= label_rows else MISFIT),
        ("test images", printed("text.rsna.test"),
         f"a tenth of the label rows, each class rounded up, is {row_test_size():,}; of the images it would be "
         f"{-(-images // 10):,}",
         AGREES if tested == -(-images // 10) else OTHER_UNIT if tested == row_test_size() else MISFIT),
        ("accuracy, normal training and self-supervised",
         f"{printed('table1.accuracy.scratch')} and {printed('table1.accuracy.jigsaw')}",
         f"always answering 'no pneumonia' is right for {by_image:.3f} of the images, {by_row:.3f} of the label rows",
         AGREES if lowest > by_image else WEAKNESS),
        ("labelled scans", f"{printed('text.visceral.fraction')} % ({printed('text.visceral.labelled')} scans)",
         f"{labelled:g} of {silver:g} scans are {share:.1f} %",
         _finding(overlap(rounding_range(printed("text.visceral.fraction")), (share - 0.05, share + 0.05)))),
        ("additional scans", printed("text.pretext.scans"),
         f"the seven sets that it names hold {all_scans:,}; {largest.upper()} alone {scans[largest]:,}",
         AGREES if pool == all_scans else PART if pool < all_scans else MISFIT),
        ("lower bound of the performance", f"higher than {printed('text.floor')}",
         f"mean Dice of about {printed('fig4.impulse_noise.level')} over five severities of impulse noise",
         _finding(value("fig4.impulse_noise.level") > value("text.floor"))),
        ("figure of the kidneys at another centre", f"Fig. {printed('text.figure_reference')}",
         f"{cited} shows the task {', '.join(shows)}; the pictures are Table 3", _finding("organs" in shows)),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["what", "printed", "beside", "finding"])


def _finding(agrees: bool) -> str:
    return AGREES if agrees else MISFIT


def row_test_size() -> int:
    """Rows of a test set that takes a tenth of the label table's rows within each class, rounded up."""
    return sum(-(-rows // 10) for rows in rows_by_class())


def row_training_size() -> int:
    """Rows that such a test set leaves for training, less a tenth of each class for validation, rounded to the nearest.

    That validation is rounded so is inferred from the result (`splits.rules.split_by_row`).
    """
    left = [rows - -(-rows // 10) for rows in rows_by_class()]
    return sum(rows - (rows + 5) // 10 for rows in left)


def rows_by_class() -> tuple[int, int]:
    """(negative, positive) rows of the published label table."""
    negative = PUBLISHED_BOXES[0]
    return negative, PUBLISHED_ROWS - negative
