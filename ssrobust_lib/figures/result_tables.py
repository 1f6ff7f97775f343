"""The paper's value beside ours, and the words that numbers have in every table of results.

Enters: the tables of `statistics.result_tables`. Leaves: an `HtmlTable` in words: no column or set is called as in the
code. Tables 1, 2 and 4 of the paper. Tests are in `comparison_tables`, verdicts in `verdict_tables`.
"""

import re
from collections.abc import Mapping

import pandas as pd

from ssrobust_lib.statistics.claim_evidence import HOME_GAP
from ssrobust_lib.statistics.scales import largest_difference

from .style import corruption_word, metric_title, order_arms, p_digits, paper_label, structure_title
from .tables import HtmlTable, Markup, html_table, object_frame, small
from .tidy import require_columns

_GAPS = {"accuracy": "accuracy", "dice": "Dice"}
_CONDITIONS = ("gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur")


def mean_std(mean: float, std: float | None = None, *, digits: int = 3) -> str:
    """'0.900 ± 0.037'; without a spread '0.739'; a missing mean is a dash.

    Examples
    --------
    >>> mean_std(0.9, 0.037)
    '0.900 ± 0.037'
    >>> mean_std(0.7394)
    '0.739'
    >>> mean_std(float("nan"))
    '–'
    """
    if mean is None or pd.isna(mean):
        return "–"
    text = f"{mean:.{digits}f}"
    return text if std is None or pd.isna(std) else f"{text} ± {std:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, a true minus, and no sign on what rounds to zero.

    Examples
    --------
    >>> signed(0.0214), signed(-0.3), signed(-0.0001)
    ('+0.021', '−0.300', '0.000')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def interval_text(low: float, high: float, digits: int = 3) -> str:
    """'[−0.010, +0.032]', or an empty text where there is no interval."""
    return "" if pd.isna(low) or pd.isna(high) else f"[{signed(low, digits)}, {signed(high, digits)}]"


def p_words(value: float) -> str:
    """A p-value in running text: two significant digits, '< 0.0001' below that.

    Examples
    --------
    >>> p_words(0.0423), p_words(0.00034), p_words(1.7e-8)
    ('0.042', '0.0003', '< 0.0001')
    """
    return "< 0.0001" if value < 0.0001 else f"{value:.1g}" if value < 0.001 else p_digits(value)


def statistic_text(value: float) -> str:
    """A statistic: four significant digits, or whole numbers and halves with thousands set apart; a true minus.

    Examples
    --------
    >>> statistic_text(55890.5), statistic_text(-0.78), statistic_text(0.08511)
    ('55,890.5', '−0.78', '0.08511')
    """
    text = f"{value:,.1f}".removesuffix(".0") if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def detectable_text(value: float, metric: str) -> str:
    """A detectable difference, '–' where there is none; beyond the metric's scale 'no possible difference'.

    Examples
    --------
    >>> detectable_text(0.0402, "dice"), detectable_text(1.884, "missed"), detectable_text(1.884, "dice gap")
    ('0.040', 'no possible difference', '1.884')
    """
    if pd.isna(value):
        return "–"
    return "no possible difference" if value > largest_difference(metric) else f"{value:.3f}"


def counted(n: int, word: str) -> str:
    """'1 seed', '1,200 patients'."""
    return f"{n:,} {word}" + ("" if n == 1 or word.endswith("s") else "s")


def in_words(text: str, names: Mapping[str, str] | None = None) -> str:
    """Put words for the names of sets, metrics and corruptions that the code uses.

    Examples
    --------
    >>> in_words("kits19 dice, shot_noise 0.4", {"kits19": "KiTS19 phantoms"})
    'KiTS19 phantoms Dice, shot noise 0.4'
    >>> in_words("kits19 dice gap to home")
    'kits19 Dice, change from the home set'
    """
    words = {name: corruption_word(name) for name in _CONDITIONS}
    words |= {"dice": "Dice", "auroc": "AUROC", "accuracy gap": "accuracy, change from clean images"}
    words |= {f"{name} {HOME_GAP}": f"{shown}, change from the home set" for name, shown in _GAPS.items()}
    words |= {"feature_distance": "distance of the features", "flipped": "voxels given to another structure"}
    words |= {"dice gap": "Dice, change from clean images", "-": "−"} | dict(names or {})
    longest_first = sorted((word for word in words if word != "-"), key=len, reverse=True)
    pattern = rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b"
    text = re.sub(pattern, lambda match: words[match.group()], text)
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def paper_table(
    table: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    marks: Mapping[str, str] | None = None,
    majority: float | None = None,
    note: str | None = None,
) -> HtmlTable:
    """Each arm's score with the paper's beside it, for the tables of `ssrobust_lib.statistics.result_tables`.

    Parameters
    ----------
    table : init, metric, structure, value, std, seed_min, seed_max, n_seeds, n, unit, paper_value, paper_std
        (`table1`, `table2`, `table4`).
    dataset : on what ours was measured.
    marks : arm -> words set beside its name, such as 'pretext not learned (seed 0)'.
    majority : accuracy of always giving the more frequent answer, a row of its own below the accuracies.
    """
    keys = ["init", "metric", "structure", "value", "std", "seed_min", "seed_max", "n_seeds", "n", "unit"]
    require_columns(table, [*keys, "paper_value", "paper_std"], "table")
    arms = order_arms(table["init"])
    rows, one_metric = [], table["metric"].nunique() == 1
    for (metric, structure), part in table.groupby(["metric", "structure"], sort=False):
        parts = [metric_title(str(metric))] + ([structure_title(str(structure))] if structure else [])
        score = ", ".join(parts[1:] if one_metric and structure and table["structure"].nunique() > 1 else parts)
        by_arm = part.set_index("init")
        for arm in [arm for arm in arms if arm in by_arm.index]:
            row = by_arm.loc[arm]
            several = row["n_seeds"] > 1
            mark = (marks or {}).get(arm, "")
            rows.append(
                {
                    "Score": score,
                    "Arm": Markup(paper_label(arm) + small(mark)),
                    "This run": mean_std(row["value"], row["std"] if metric == "dice" else None),
                    "Seeds": f"{row['seed_min']:.3f} to {row['seed_max']:.3f}" if several else "one seed",
                    "Paper": mean_std(row["paper_value"], row["paper_std"]),
                    "n": counted(int(row["n"]), row["unit"]),
                }
            )
        if metric == "accuracy" and majority is not None:
            blank = {"Score": score, "Arm": "Always the more frequent answer", "Seeds": "–", "Paper": "–"}
            rows.append(blank | {"This run": mean_std(majority), "n": rows[-1]["n"]})
    dice = "± is the standard deviation over scans" if (table["metric"] == "dice").any() else ""
    if dice and (table["n_seeds"] > 1).any():
        dice += ", each scan's score averaged over the networks of an arm; the paper's is over the scans of one network"
        dice += ", which vary more"
    dice += ". " if dice else ""
    words = f"{dice}Seeds: lowest to highest mean of a seed. The paper's values were measured on the paper's own data."
    shown = object_frame(rows, ["Score", "Arm", "This run", "Seeds", "Paper", "n"])
    if shown["n"].nunique() == 1:
        words = f"n: {shown['n'].iloc[0]}. {words}"
        shown = shown.drop(columns="n")
    if shown["Score"].nunique() == 1:
        words = f"{shown['Score'].iloc[0]}. {words}"
        shown = shown.drop(columns="Score")
    below = f"{words} {note}" if note else words
    return html_table(shown, caption, dataset=dataset, note=below, stacked=True, data=table)
