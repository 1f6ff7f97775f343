"""Everything that is said about two runs, in one object, and how to count it in words.

Enters: two stored runs. Leaves: a `RunComparison`, which the page and the terminal show.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from ssrobust_lib.run_comparison import side_by_side
from ssrobust_lib.run_comparison.changes import PARTS, VERDICTS, changes
from ssrobust_lib.run_comparison.matched_scores import ALL_CORRUPTIONS
from ssrobust_lib.run_comparison.set_up import equal_tables, identical, set_up
from ssrobust_lib.run_comparison.stored_run import RunComparisonError, StoredRun

IDENTICAL = "identical: every table of both runs is the same, bit for bit"
SECTIONS: dict[str, Callable[[StoredRun, StoredRun], pd.DataFrame]] = {
    "arm_verdicts": side_by_side.arm_verdicts,
    "claims": side_by_side.claim_verdicts,
    "severities": side_by_side.severities,
    "corruption_errors": side_by_side.corruption_errors,
    "metrics": side_by_side.further_metrics,
    "curves": side_by_side.curves,
}


@dataclass(frozen=True)
class RunComparison:
    """Two runs compared.

    Attributes
    ----------
    set_up, tables, changes : see `set_up.set_up`, `set_up.equal_tables`, `changes.changes`.
    sections : table of each of `SECTIONS` that could be made.
    left_out : why the others could not: section -> reason.
    """

    a: StoredRun
    b: StoredRun
    set_up: pd.DataFrame = field(repr=False)
    tables: pd.DataFrame = field(repr=False)
    changes: pd.DataFrame = field(repr=False)
    sections: dict[str, pd.DataFrame] = field(repr=False)
    left_out: dict[str, str]

    @property
    def identical(self) -> bool:
        return identical(self.tables)

    def part(self, name: str) -> pd.DataFrame:
        """Rows of the changes of one part: 'scores', 'details' or 'arms'."""
        return self.changes[self.changes["part"] == name]


def compare(a: StoredRun, b: StoredRun) -> RunComparison:
    """Compare two runs.

    Raises
    ------
    RunComparisonError
        They have no score in common, or their predictions cannot be read. What else is missing becomes `left_out`.
    """
    sections, left_out = {}, {}
    changed = changes(a, b)
    for name, make in SECTIONS.items():
        try:
            sections[name] = make(a, b)
        except RunComparisonError as error:
            left_out[name] = str(error)
    changed = _with_strengths(changed, sections.get("severities"))
    return RunComparison(a, b, set_up(a, b), equal_tables(a, b), changed, sections, left_out)


def _with_strengths(changed: pd.DataFrame, severities: pd.DataFrame | None) -> pd.DataFrame:
    """Note in the rows of a corruption that its strengths differ between the runs: the images are other ones."""
    if severities is None:
        return changed
    other = severities[severities["differs"]]
    of_one = set(zip(other["task"], other["corruption"], strict=True))
    of_all = {(task, ALL_CORRUPTIONS) for task in other["task"]}
    there = [place in of_one | of_all for place in zip(changed["task"], changed["condition"], strict=True)]
    noted = changed["note"].where(changed["note"] == "", changed["note"] + "; ") + "other strengths"
    return changed.assign(note=changed["note"].where([not differs for differs in there], noted))


def counts(rows: pd.DataFrame) -> str:
    """How many rows have which verdict: '3 changed, 40 within noise, 2 cannot be told'."""
    if rows.empty:
        return "none in common"
    found = rows["verdict"].value_counts()
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if verdict in found)


def summary(comparison: RunComparison) -> list[str]:
    """The findings, a sentence each, most important first."""
    said = [IDENTICAL[0].upper() + IDENTICAL[1:] + "."] if comparison.identical else []
    names = dict(zip(PARTS, ("Scores", "At single severities and structures", "Differences between arms"), strict=True))
    said += [f"{words}: {counts(comparison.part(part))}." for part, words in names.items()]
    verdicts, claims = (comparison.sections.get(name) for name in ("arm_verdicts", "claims"))
    if verdicts is not None:
        main = verdicts[(verdicts["structure"] == "") & (verdicts["scope"] != "severity")]
        said.append(
            f"Each run's own tests of its arms disagree in {int(main['flipped'].sum())} of {len(main)} comparisons."
        )
    if claims is not None:
        said.append(f"The verdict on a claim of the paper differs in {int(claims['flipped'].sum())} of {len(claims)}.")
    differing = comparison.set_up[comparison.set_up["differs"]].groupby("section", sort=False).size()
    listed = ", ".join(f"{section} ({n})" for section, n in differing.items())
    return [*said, f"The set-ups differ in {listed}." if listed else "The set-ups do not differ."]
