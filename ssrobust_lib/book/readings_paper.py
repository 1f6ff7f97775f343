"""The chapter on the paper's own numbers: tables and the sentences that read them; no number in them is typed.

Enters: `ssrobust_lib.statistics.paper.paper_results`. Leaves: Markdown of the whole chapter, for `book.publish`.
"""

import pandas as pd

from ssrobust_lib.figures import corruption_word, html_table, metric_title
from ssrobust_lib.figures.tables import HtmlTable, Markup, object_frame, small
from ssrobust_lib.statistics.multiplicity import holm
from ssrobust_lib.statistics.paired_tests import smallest_signed_rank_p
from ssrobust_lib.statistics.paper import fill_numbers, paper_results
from ssrobust_lib.statistics.printed_numbers import (
    AGREES,
    FINDINGS,
    MISFIT,
    OTHER_UNIT,
    PART,
    WEAKNESS,
    disagreements,
    gain_table,
    rounding_range,
)
from ssrobust_lib.statistics.printed_tests import (
    auroc_correlations,
    discordant_shares,
    fitting_sizes,
    possible_rank_sums,
    signed_rank_table,
    smallest_n,
    t_test_table,
)

UNLIKELY = "unlikely"
_SETS = {"rsna": "X-rays", "visceral": "CT", "kits19": "KiTS"}


def chapter_text(results: pd.DataFrame | None = None) -> str:
    """The chapter's generated part: p-values, means and deviations, gains, and numbers that do not fit."""
    results = paper_results() if results is None else results
    parts = [
        "## Which n and which unit could give the printed p-values?",
        reading_signed_rank(results),
        _raw(signed_rank_html(results)),
        reading_images(results),
        reading_correction(results),
        "## Do the printed means and deviations fit their p-values?",
        reading_t_test(results),
        _raw(t_test_html(results)),
        reading_auroc(results),
        "## Points or percent?",
        reading_gains(results),
        _raw(gains_html(results)),
        "## Numbers that do not fit",
        reading_disagreements(results),
        _raw(disagreements_html(results)),
    ]
    return "\n\n".join(parts) + "\n"


def _raw(table: HtmlTable) -> str:
    return f"```{{raw}} html\n{table.html}\n```"


def _what(row: dict) -> str:
    condition = "" if row["condition"] == "clean" else f", {corruption_word(row['condition'])}"
    return f"{metric_title(row['metric'])}{condition}, {_SETS[row['set']]}"


def _one_per_p(table: pd.DataFrame) -> pd.DataFrame:
    """Corruptions of one figure share p, set and metric: the first stands for all of them, and says how many."""
    keys = ["source", "set", "metric", "printed_p", "unit", "n"]
    first = table.drop_duplicates(keys).copy()
    first["corruptions"] = table.groupby(keys, sort=False)["condition"].transform("count")
    return first


def reading_signed_rank(results: pd.DataFrame) -> str:
    """The fewest units behind each p, and which of the sets' own units cannot be behind it."""
    lines = [
        "The paper names the test, Wilcoxon's signed-rank test, but neither the unit that is paired nor n. With few "
        "pairs the test has few possible p-values: when all n pairs point the same way, the exact two-sided p is "
        "$2^{1-n}$, and no smaller one exists."
    ]
    for printed in dict.fromkeys(results.loc[results["printed_p"] != "", "printed_p"]):
        n = smallest_n(printed)
        relation = printed.replace("<", "< ") if printed.startswith("<") else f"= {printed}"
        lost = possible_rank_sums(n, printed) or (0, 0)
        sums = f"{lost[0]}" if lost[0] == lost[1] else f"{lost[0]} to {lost[1]}"
        lines.append(
            f"- p {relation} takes at least {n} pairs. {n} give it if the losing side has a rank sum of {sums} of "
            f"{n * (n + 1) // 2}; the smallest p that {n} can give is {smallest_signed_rank_p(n):.3g}."
        )
    table = signed_rank_table(results)
    impossible = table[~table["possible"] & (table["note"] == "")]
    if len(impossible):
        units = sorted({f"{row['n']} {row['unit']}" for row in impossible.to_dict("records")})
        lines.append(
            f"\nThe bars of Figures 3 and 4 are means over severities, but the severities cannot be the pairs: with "
            f"{' or '.join(units)} no p below {impossible['smallest_p'].min():.3g} exists."
        )
    lines.append(
        "\nThe table gives for every printed p the units that its set offers, and how lopsided the pairs would have to "
        "be: the share of the rank sum that speaks against the better arm (0: every pair points the same way; 0.5: a "
        "draw), and the rank-biserial correlation, one less twice that share."
    )
    return "\n".join(lines)


def signed_rank_html(results: pd.DataFrame) -> HtmlTable:
    """Every printed p with every unit of its set; corruptions with the same p in one row."""
    rows, data = [], _one_per_p(signed_rank_table(results))
    for row in data.to_dict("records"):
        several = row["corruptions"] > 1
        what = f"{metric_title(row['metric'])}, {_SETS[row['set']]}" if several else _what(row)
        bound = row["printed_p"].startswith("<")
        share, effect = row["opposed_high"], row["rank_biserial_low"]
        span = _span(effect, row["rank_biserial_high"], bound, "from", first=True)
        biserial = f"rank-biserial {span}" if row["possible"] else ""
        rows.append(
            {
                "Printed": f"{row['source']}: p {row['printed_p'].replace('<', '< ')}",
                "What": f"{what}, each of {row['corruptions']} corruptions" if several else what,
                "Unit": row["unit"],
                "n": int(row["n"]),
                "Possible": "yes" if row["possible"] else "no",
                "Share against": Markup(
                    _span(row["opposed_low"], share, bound, "up to") + small(biserial or row["note"])
                ),
            }
        )
    note = "Exact to 50 pairs, normal approximation above; ranges are over all p-values that print alike."
    table = object_frame(rows, list(rows[0]))
    tones = {"Possible": {"yes": "good", "no": "bad"}}
    return html_table(table, "Units behind each printed p", note=note, tones=tones, stacked=True, data=data)


def _span(low: float, high: float, bound: bool, word: str, first: bool = False) -> str:
    """'0.13 to 0.14'; for a bound the one end that counts; a dash where there is none."""
    if pd.isna(low):
        return "–"
    if bound:
        return f"{word} {low if first else high:.2f}"
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def reading_images(results: pd.DataFrame) -> str:
    """On how many test images the arms disagree, if images are the unit of the test on accuracy."""
    shares = discordant_shares(results)
    text = (
        "If test images are the pairs, a difference in accuracy is 1, 0 or −1 per image, and the signed-rank test is a "
        "test of the images that one arm gets right and the other wrong. For {table1.accuracy.jigsaw} against "
        "{table1.accuracy.scratch} to give p = {table1.accuracy.jigsaw:p}, "
        f"{100 * shares['low']:.0f} to {100 * shares['high']:.0f} % of the images have to be such. "
    )
    possible = shares["least"] <= shares["high"] and shares["low"] <= shares["most"]
    if possible:
        text += (
            f"That is possible: the accuracies allow {100 * shares['least']:.1f} to {100 * shares['most']:.0f} %; if "
            f"the arms erred independently of each other, it would be {100 * shares['independent']:.0f} %"
        )
        text += ", so that the two make many of the same errors." if shares["high"] < shares["independent"] else "."
    else:
        text += f"The accuracies allow {100 * shares['least']:.1f} to {100 * shares['most']:.0f} %: it is not possible."
    return fill_numbers(text, results)


def reading_correction(results: pd.DataFrame) -> str:
    """What Holm's correction leaves of the printed p-values, at their upper end."""
    tables = results[results["source"].isin(["Table 1", "Table 2"]) & (results["printed_p"] != "")]
    corrected = holm(tables["p"].to_numpy())
    figures = results[results["source"].isin(["Figure 3", "Figure 4"])]
    bound = len(figures) * figures["p"].max()
    kept = int((corrected < 0.05).sum())
    return (
        f"Nothing is corrected for the number of tests. Holm's correction takes the {len(corrected)} tests on clean "
        f"images to {corrected.max():.2g} at most ({kept} of {len(corrected)} below 0.05), and a printed bound of "
        f"{figures['p'].max():g} among the {len(figures)} bars of Figures 3 and 4 to {bound:.2g} at most. Whatever the "
        "correction, these tests are about the networks that were trained; none of them is about training again."
    )


def reading_t_test(results: pd.DataFrame) -> str:
    """Whether a paired t-test on the printed means and deviations can give the printed p, and with how many units."""
    table, lines = t_test_table(results), []
    for source, rows in table.groupby("source", sort=False):
        name = {"Table 2": "table2.dice", "Table 4": "table4.dice"}[str(source)]
        words = f"- {source}: {{{name}.jigsaw}} ± {{{name}.jigsaw:std}} against {{{name}.scratch}} ± "
        words += f"{{{name}.scratch:std}}, p = {{{name}.jigsaw:p}}."
        sizes = fitting_sizes(results, str(source))
        text = fill_numbers(words, results)
        text += f" Some correlation fits with {sizes[0]} to {sizes[1]} pairs." if sizes else " No number of pairs fits."
        for row in rows.to_dict("records"):
            if not row["possible"]:
                side = "smaller" if row["correlation_high"] < -1 else "larger"
                text += f" With {row['n']} ({row['unit']}) none does: p would be {side} whatever the correlation."
            elif row["unit"].startswith(("fewest", "scans")):
                text += f" With {row['n']} ({row['unit']}) it has to be {_correlation_span(row)}."
            elif not row["likely"]:
                text += f" With {row['n']} ({row['unit']}) it has to be below 0, which is unlikely."
        lines.append(text)
    head = (
        "A signed-rank test cannot be recomputed from means, but a paired t-test can: mean difference, both standard "
        "deviations and n leave one unknown, the correlation of the two arms over the units. It has to lie between −1 "
        "and 1; two networks tested on the same scans have a high one. All ranges are over values that round to the "
        "printed ones."
    )
    return "\n".join([head, "", *lines])


def t_test_html(results: pd.DataFrame) -> HtmlTable:
    """The needed correlation for every unit, as far as data can have it."""
    data = t_test_table(results)
    rows = [
        {
            "Printed": f"{row['source']}: p {row['printed_p']}",
            "Unit": row["unit"],
            "n": int(row["n"]),
            "Correlation needed": _correlation_span(row),
            "Possible": "no" if not row["possible"] else "yes" if row["likely"] else UNLIKELY,
        }
        for row in data.to_dict("records")
    ]
    note = (
        "Beyond 1 or −1 no data have such a correlation; the deviations are taken to be over the unit. "
        f"{UNLIKELY.capitalize()}: only a correlation below 0 would do, that is, arms of which one does well where the "
        "other does badly, although both are tested on the same scans."
    )
    tones = {"Possible": {"yes": "good", UNLIKELY: "open", "no": "bad"}}
    caption = "Correlation of the arms that a paired t-test needs"
    return html_table(pd.DataFrame(rows), caption, note=note, tones=tones, stacked=True, data=data)


def _correlation_span(row: dict) -> str:
    """'0.99 to 1.00': where some correlation does, the part of the range that lies within [-1, 1]."""
    low, high = row["correlation_low"], row["correlation_high"]
    if row["possible"]:
        low, high = max(low, -1.0), min(high, 1.0)
    return f"{low:.2f} to {high:.2f}".replace("-", "−")


def reading_auroc(results: pd.DataFrame) -> str:
    """What the p on AUROC takes, if it came from a test of two correlated AUROCs."""
    low, high = auroc_correlations(results)
    verdict = "is possible" if low <= 1 and high >= -1 else "does not exist"
    text = (
        "An AUROC is one number for a whole test set: a signed-rank test needs several, and the paper does not say of "
        "what. A test of two correlated AUROCs would give p = {table1.auroc.jigsaw:p} for {table1.auroc.jigsaw} "
        "against {table1.auroc.scratch} if they correlate by "
        f"{low:.2f} to {high:.2f}, which {verdict} (standard errors after {{cite:t}}`hanley1982`, with the class sizes "
        "that give the printed {text.rsna.test} test images)."
    )
    return fill_numbers(text, results)


def reading_gains(results: pd.DataFrame) -> str:
    """Which of the stated gains are points, which percent, and which agree with their table."""
    table = gain_table(results)
    points, percent = table[table["as_points"]], table[table["as_percent"]]
    lines = [
        f"Of {len(table)} gains stated in percent, {len(points)} are the table's difference in points, {len(percent)} "
        "could be percent of normal training."
    ]
    by_id = results.set_index("id")
    for row in table.to_dict("records"):
        printed = by_id.loc[row["gain"]]
        low, high = rounding_range(row["stated"])
        name = f"{metric_title(str(printed['metric']).split(' ')[0])}, {_SETS[str(printed['set'])]}"
        if not low <= row["points"] < high:
            reach = "which leaves it possible" if row["as_points"] else "which rules it out"
            lines.append(
                f"{name}: the text says {row['stated']} %, the table's difference is {row['points']:.1f} points, "
                f"{row['points_low']:.1f} to {row['points_high']:.1f} with rounding, {reach}."
            )
    return " ".join(lines)


def gains_html(results: pd.DataFrame) -> HtmlTable:
    """Each gain in points and in percent."""
    by_id, rows, data = results.set_index("id"), [], gain_table(results)
    for row in data.to_dict("records"):
        printed = by_id.loc[row["gain"]]
        fits = [word for word, there in (("points", row["as_points"]), ("percent", row["as_percent"])) if there]
        rows.append(
            {
                "Gain": f"{metric_title(str(printed['metric']).split(' ')[0])}, {_SETS[str(printed['set'])]}",
                "Stated": f"{row['stated']} %",
                "In points": f"{row['points']:.1f} ({row['points_low']:.1f} to {row['points_high']:.1f})",
                "In percent": f"{row['percent']:.1f} ({row['percent_low']:.1f} to {row['percent_high']:.1f})",
                "Agrees with": " or ".join(fits) or "neither",
            }
        )
    note = "In brackets: all differences of values that round to the printed ones."
    return html_table(pd.DataFrame(rows), "Stated gains beside the tables", note=note, stacked=True, data=data)


def reading_disagreements(results: pd.DataFrame) -> str:
    """How many of the checked numbers do not fit what they ought to, and what the others are."""
    table = disagreements(results).set_index("what")
    counts = table["finding"].value_counts()
    words = {
        MISFIT: ("does not fit", "do not fit"),
        OTHER_UNIT: ("counts another unit", "count another unit"),
        PART: ("may be a part of what it is set beside", "may be a part of what they are set beside"),
        WEAKNESS: ("is a weak result, not a contradiction", "are weak results, not contradictions"),
        AGREES: ("agrees", "agree"),
    }
    found = [f"{counts[name]} {words[name][int(counts[name] > 1)]}" for name in words if name in counts]
    text = (
        f"Of the {len(results)} entries of `book/paper_results.csv`, the table sets {len(table)} numbers beside "
        f"something that they ought to agree with, besides the gains above: {'; '.join(found)}. The others have "
        "nothing to be held against."
    )
    if table.at["test images", "finding"] == OTHER_UNIT:
        text += (
            " The size of the X-ray test set is that of a split of label rows, not of images; what such a split lets "
            "into training stands in [](notebooks/01_data)."
        )
    return text


def disagreements_html(results: pd.DataFrame) -> HtmlTable:
    """Printed numbers beside what they ought to agree with."""
    table = disagreements(results)
    headings = {"what": "What", "printed": "The paper prints", "beside": "Beside it", "finding": "Finding"}
    tones = {"finding": dict.fromkeys(FINDINGS, "open") | {AGREES: "good", MISFIT: "bad"}}
    caption = "Printed numbers that ought to agree"
    return html_table(table, caption, headings=headings, tones=tones, stacked=True)
