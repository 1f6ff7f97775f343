"""Tables of results: the paper's value beside ours, every test with its n and interval, the verdict on each claim.

Enters: the tables of `statistics.result_tables`, `statistics.comparisons` and `statistics.claims`. Leaves: an
`HtmlTable` in words: no column or set is called as in the code. Tables 1, 2 and 4 of the paper and its p-values.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssrobust_lib.config import AA_ARM

from .style import corruption_word, metric_title, order_arms, order_corruptions, paper_label, structure_title
from .tables import HtmlTable, Markup, badge, folded, html_table, object_frame, p_text, small
from .tidy import require_columns

#: Tone of each verdict's word.
VERDICT_TONES = {"holds": "good", "does not hold": "bad", "undecided": "open", "not tested": "open"}

_P_WORDS = (
    "The method: other patients and other seeds. These networks: other patients, seeds averaged first.",
    "Of each the 95 % interval, p, and p after Holm's correction within its family.",
)
_TEST_COLUMNS = ("ci_low", "ci_high", "test", "statistic", "p", "p_holm", "note")
_METRIC_ORDER = ("accuracy", "auroc", "auroc placements", "dice", "missed", "accuracy gap", "dice gap")
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


def counted(n: int, word: str) -> str:
    """'1 seed', '1,200 patients'."""
    return f"{n:,} {word}" + ("" if n == 1 or word.endswith("s") else "s")


def in_words(text: str, names: Mapping[str, str] | None = None) -> str:
    """Put words for the names of sets, metrics and corruptions that the code uses.

    Examples
    --------
    >>> in_words("kits19 dice, shot_noise 0.4", {"kits19": "KiTS19 phantoms"})
    'KiTS19 phantoms Dice, shot noise 0.4'
    """
    words = {name: corruption_word(name) for name in _CONDITIONS}
    words |= {"dice": "Dice", "auroc": "AUROC", "accuracy gap": "accuracy, change from clean"}
    words |= {"feature_distance": "distance of the features", "flipped": "voxels given to another structure"}
    words |= {"dice gap": "Dice, change from clean", "-": "−"} | dict(names or {})
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
    dice = "± is the standard deviation over scans. " if (table["metric"] == "dice").any() else ""
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


def comparison_table(
    comparisons: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    names: Mapping[str, str] | None = None,
    marks: Mapping[tuple[str, str], str] | None = None,
    paper: Mapping[tuple[str, str, str, str], str] | None = None,
    main: str = "",
    note: str | None = None,
    fold: str | None = None,
) -> HtmlTable:
    """Tests in words: what was compared, both means, difference, n, and interval, test and p of both estimands.

    Parameters
    ----------
    comparisons : rows of `ssrobust_lib.statistics.comparisons.compare_all`.
    dataset : on what the scores were measured.
    names : set -> short words, set below a row where several sets are in the table.
    marks : (task, arm) -> words set beside the arm's name, such as 'pretext not learned (seed 0)'.
    paper : (task, role, metric, condition) -> what the paper reports there; adds a column.
    main : name of the one structure that another centre's mean is about.
    note : a further line below the table.
    fold : words of a button to hide the table behind.
    """
    wanted = ["task", "set", "role", "metric", "structure", "scope", "condition", "severity", "arm", "n", "n_seeds"]
    wanted += ["unit", "mean_arm", "mean_reference", "difference", "detectable", "equivalence_p"]
    wanted += [f"{side}{column}" for side in ("", "method_") for column in _TEST_COLUMNS]
    require_columns(comparisons, wanted, "comparisons")
    several_sets, arms = comparisons["set"].nunique() > 1, order_arms(comparisons["arm"])
    rows = []
    for row in in_order(comparisons).to_dict("records"):
        place = (names or {}).get(row["set"], row["set"]) if several_sets else ""
        mark = (marks or {}).get((row["task"], row["arm"]), "")
        arm = "; ".join(text for text in (paper_label(row["arm"]) if len(arms) > 1 else "", mark) if text)
        missing = pd.isna(row["difference"])
        entry = {
            "Score": Markup(compared_words(row, main) + small(place) + small(arm)),
            "Arm": "–" if missing else f"{row['mean_arm']:.3f}".replace("-", "−"),
            "Normal": "–" if missing else f"{row['mean_reference']:.3f}".replace("-", "−"),
            "Difference": "not measured" if missing else signed(row["difference"]),
            "The method": _estimand_cell(row, "method_"),
            "These networks": _estimand_cell(row, ""),
            "n": Markup(counted(int(row["n"]), row["unit"]) + small(counted(int(row["n_seeds"]), "seed"))),
            "Paper": (paper or {}).get((row["task"], row["role"], row["metric"], row["condition"]), "–"),
        }
        if row["structure"] or row["arm"] == AA_ARM:
            entry["Paper"] = "–"
        rows.append(entry)
    columns = ["Score", "Arm", "Normal", "Difference", "The method", "These networks", "n", "Paper"]
    shown = object_frame(rows, columns)
    if not paper or (shown["Paper"] == "–").all():
        shown = shown.drop(columns="Paper")
    arm_heading = paper_label(arms[0]).replace(" (jigsaw)", "") if len(arms) == 1 else "Arm"
    references = [paper_label(name) for name in dict.fromkeys(comparisons["reference"])]
    other = references[0] if len(references) == 1 else "Normal training"
    headings = {"Arm": arm_heading, "Normal": other}
    units = " or ".join(f"{unit}s" for unit in dict.fromkeys(comparisons["unit"]))
    words = [f"Difference: arm minus {other[0].lower() + other[1:]}, paired by {units}.", *_P_WORDS]
    words += ["The paper's values were measured on the paper's own data."] if "Paper" in shown else []
    below = " ".join([*words, *([note] if note else [])])
    options: dict[str, Any] = {"headings": headings, "note": below, "fold": fold, "data": comparisons}
    return html_table(shown, caption, dataset=dataset, stacked=True, **options)


def _estimand_cell(row: Mapping, side: str) -> Markup:
    """Interval, p and corrected p of one estimand, its test behind a button; `side` is '' or 'method_'."""
    p, corrected, test = row[f"{side}p"], row[f"{side}p_holm"], row[f"{side}test"]
    told = [] if pd.isna(row[f"{side}statistic"]) else [f"{test}, statistic {row[f'{side}statistic']:.4g}"]
    told += [row[f"{side}note"]] if row[f"{side}note"] else []
    if side and not pd.isna(row["detectable"]):
        told.append(f"with this many a difference of {row['detectable']:.3f} would be found in 80 % of the cases")
    if side and not pd.isna(row["equivalence_p"]):
        told.append(f"equivalence within the margin: p {row['equivalence_p']:.2g}")
    words = interval_text(row[f"{side}ci_low"], row[f"{side}ci_high"]) or "–"
    holm = small("" if pd.isna(corrected) else f"Holm {corrected:.2g}")
    tested = "" if pd.isna(p) else f"<br>p {p_text(p)}{holm}"
    return Markup(words + tested + (folded("; ".join(told), "test") if told else ""))


def in_order(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Rows by metric, set, structure, scope and corruption; the A/A arm below the others."""
    metrics = [*_METRIC_ORDER, *sorted(set(comparisons["metric"]).difference(_METRIC_ORDER))]
    conditions = order_corruptions(comparisons["condition"])
    ranks = {
        "by_metric": comparisons["metric"].map(metrics.index),
        "by_scope": comparisons["scope"].map({"clean": 0, "all corruptions": 1, "corruption": 2}).fillna(3),
        "by_condition": comparisons["condition"].map(conditions.index),
        "by_arm": (comparisons["arm"] == AA_ARM).astype(int),
    }
    by = ["by_metric", "set", "by_scope", "by_condition", "by_arm"]
    return comparisons.assign(**ranks).sort_values(by, kind="stable")


def compared_words(row: Mapping, main: str = "") -> str:
    """What a row of the comparisons table compares: 'Dice, left kidney, shot noise, severity 3'."""
    words = [metric_title(row["metric"], row["role"])]
    if row["structure"] or (main and row["metric"] in ("dice", "missed")):
        words.append(structure_title(row["structure"] or main))
    if row["scope"] != "clean":
        words.append(corruption_word(row["condition"]))
    if row["scope"] == "severity":
        words.append(f"severity {row['severity']}")
    return ", ".join(words)


def verdict_table(
    claims: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    same: pd.DataFrame | None = None,
    names: Mapping[str, str] | None = None,
    root: str = "../",
    notes: bool = True,
    note: str | None = None,
    fold: str | None = None,
) -> HtmlTable:
    """The paper's claims, what was found for each, and both verdicts as words on a coloured ground.

    Parameters
    ----------
    claims : one arm's rows of `ssrobust_lib.statistics.claim_table.claim_table`.
    same : the rows of the A/A arm; their verdicts are set below the others'. Without any, nothing is.
    names : set -> short words.
    root : the way from the page that shows the table to the book's first page; links to figures start there.
    notes : put the notes behind a button in each row.
    note : a further line below the table.
    """
    wanted = ["claim", "section", "quote", "compares", "paper", "this_run", "interval", "p_holm", "p_equivalence"]
    wanted += ["verdict", "reason", "networks_interval", "networks_p_holm", "networks_verdict", "mark", "note"]
    require_columns(claims, [*wanted, "figures", "links"], "claims")
    against_itself = same is not None and not same.empty
    own = same.set_index("claim").to_dict("index") if same is not None else {}
    rows = []
    for row in claims.to_dict("records"):
        section = f"Section {row['section']}" if row["section"][:1].isdigit() else row["section"]
        run = Markup(_escaped(in_words(row["this_run"], names) or "–") + small(row["mark"]))
        if notes and row["note"]:
            run = Markup(run + folded(in_words(row["note"], names), "notes"))
        quote = (
            f"“{_escaped(row['quote'])}”" + small(f"{section}: {row['paper']}") + small(f"Tested: {row['compares']}")
        )
        aa = own.get(row["claim"], {}) if against_itself else None
        shown = {
            "The paper says": Markup(quote),
            "This run": Markup(run + _figure_links(row, root)),
            "The method": _verdict_cell(row, "", aa),
            "These networks": _verdict_cell(row, "networks_", aa),
        }
        rows.append(shown)
    shown_rows = object_frame(rows, ["The paper says", "This run", "The method", "These networks"])
    words = [
        "The method: seeds and patients random, the verdict of this report. These networks: patients random, the "
        "trained networks as they are, which is what the paper tests."
    ]
    words += ["A/A: verdict of the same rule on normal training against itself."] if against_itself else []
    below = " ".join([*words, *([note] if note else [])])
    return html_table(shown_rows, caption, dataset=dataset, note=below, stacked=True, fold=fold, data=claims)


def _verdict_cell(row: Mapping, prefix: str, aa: Mapping | None) -> Markup:
    """A verdict as a badge, with interval and p-values in small print and that of the A/A arm (None: not asked for)."""
    verdict = str(row[f"{prefix}verdict"])
    reason = "" if prefix else str(row["reason"])
    shown = Markup(badge(verdict, VERDICT_TONES[verdict]) + small(reason))
    interval, p_holm = str(row[f"{prefix}interval"]), row[f"{prefix}p_holm"]
    details = [f"95 % interval {in_words(interval)}"] if interval else []
    details += [] if pd.isna(p_holm) else [f"p (Holm) {p_holm:.2g}"]
    if not prefix and pd.notna(row["p_equivalence"]):
        details.append(f"p (equivalence) {row['p_equivalence']:.2g}")
    below = small("; ".join(details))
    if aa is not None:
        below = Markup(below + small(f"A/A: {aa.get(f'{prefix}verdict', 'not tested')}"))
    return Markup(shown + below)


def _figure_links(row: Mapping, root: str) -> Markup:
    """Links to the figures that show what a claim rests on; empty where there are none."""
    pairs = zip(filter(None, row["figures"].split("; ")), filter(None, row["links"].split("; ")), strict=True)
    links = []
    for name, link in pairs:
        page, anchor = link.split("#")
        links.append(f'<a href="{_escaped(root)}{_escaped(page)}.html#{_escaped(anchor)}">{_escaped(name)}</a>')
    return Markup(f'<br><span style="font-size:0.88em">See {", ".join(links)}</span>' if links else "")


def _escaped(text: str) -> str:
    return html.escape(text)
