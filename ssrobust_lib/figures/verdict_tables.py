"""The paper's claims with the verdict on each.

Enters: the table of `statistics.claim_table`. Leaves: an `HtmlTable` in words.
"""

import html
from collections.abc import Mapping

import pandas as pd

from .result_tables import in_words, p_words
from .tables import HtmlTable, Markup, badge, folded, html_table, object_frame, small
from .tidy import require_columns

#: Tone of each verdict's word.
VERDICT_TONES = {"holds": "good", "does not hold": "bad", "undecided": "open", "not tested": "open"}


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
    wanted += ["verdict", "reason", "networks_interval", "networks_p_holm", "networks_verdict", "networks_reason"]
    wanted += ["mark", "note"]
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
            "The method": _verdict_cell(row, "", aa, names),
            "These networks": _verdict_cell(row, "networks_", aa, names),
        }
        rows.append(shown)
    shown_rows = object_frame(rows, ["The paper says", "This run", "The method", "These networks"])
    words = [
        "The method: seeds and patients random, the verdict of this report. These networks: patients random, the "
        "trained networks as they are, which is what the paper tests.",
        "Of a claim that rests on several comparisons, interval and p are those of the one that bears it out least.",
    ]
    words += ["A/A: verdict of the same rule on normal training against itself."] if against_itself else []
    below = " ".join([*words, *([note] if note else [])])
    return html_table(shown_rows, caption, dataset=dataset, note=below, stacked=True, fold=fold, data=claims)


def _verdict_cell(row: Mapping, prefix: str, aa: Mapping | None, names: Mapping[str, str] | None) -> Markup:
    """A verdict as a badge, with interval and p-values in small print and that of the A/A arm (None: not asked for)."""
    verdict = str(row[f"{prefix}verdict"])
    shown = Markup(badge(verdict, VERDICT_TONES[verdict]) + small(in_words(str(row[f"{prefix}reason"]), names)))
    interval, p_holm = str(row[f"{prefix}interval"]), row[f"{prefix}p_holm"]
    details = [f"95 % interval {in_words(interval, names)}"] if interval else []
    details += [] if pd.isna(p_holm) else [f"p (Holm) {p_words(p_holm)}"]
    if not prefix and pd.notna(row["p_equivalence"]):
        details.append(f"p (equivalence) {p_words(row['p_equivalence'])}")
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
