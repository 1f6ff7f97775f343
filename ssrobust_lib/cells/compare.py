"""The statistics cell: every comparison of the arms, and every network's scores (paper, sections 3.2 to 3.4)."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.condition_scores import scores_table
from ssrobust_lib.evaluation.corruption_error import corruption_errors
from ssrobust_lib.statistics.comparisons import compare_and_test
from ssrobust_lib.statistics.result_tables import per_structure, seed_scores
from ssrobust_lib.statistics.subgroups import subgroup_scores

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study

EVALUATIONS = ("04_clean_eval", "05_corruption_eval", "06_kits_generalization")


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write the comparisons, every network's scores, and the corruption errors.

    ``comparisons.parquet`` (control arms in families of their own, so that they cost the others no power) and
    ``tests.parquet``, further tests, intervals and effect sizes of the same comparisons; where there are control arms,
    ``control_comparisons.parquet``, self-supervised arms against each of them;
    ``seed_scores.parquet`` and ``per_structure.parquet``, which the paper's tables show;
    ``condition_scores.parquet``, every metric under every condition with its drop; ``corruption_errors.parquet``;
    ``subgroups.parquet``, both arms in groups of patients and organ by organ.
    """
    profile = study.profile
    predictions = [study.table(need, "predictions") for need in cell.needs if need.step in EVALUATIONS]
    home = {task: profile.data[task].label for task in profile.tasks}
    compared = partial(
        compare_and_test,
        predictions,
        seed=profile.study_seed,
        n_bootstrap=profile.statistics.bootstrap,
        home=home,
        margins=profile.statistics.margins,
        parts=home_parts(study),
    )
    arms = [arm for arm in profile.arms if arm != REFERENCE_ARM]
    comparisons, further = compared(arms=[arm for arm in arms if arm not in profile.controls])
    if profile.controls:
        controls = compared(arms=list(profile.controls))
        comparisons = pd.concat([comparisons, _in_families(controls.table, "control arms")], ignore_index=True)
        further = pd.concat([further, controls.further], ignore_index=True)
        against = [
            _in_families(compared(arms=profile.main_pretext_tasks, reference=control).table, f"against {control}")
            for control in profile.controls
        ]
        table = pd.concat(against, ignore_index=True)
        names = table["comparison"] + " against " + table["reference"]
        store.write_table(folder / "control_comparisons.parquet", table.assign(comparison=names))
    store.write_table(folder / "comparisons.parquet", comparisons)
    store.write_table(folder / "tests.parquet", further)
    store.write_table(folder / "seed_scores.parquet", seed_scores(predictions, home=home))
    store.write_table(folder / "per_structure.parquet", per_structure(predictions, home=home))
    scores = scores_table(predictions)
    store.write_table(folder / "condition_scores.parquet", scores)
    store.write_table(folder / "corruption_errors.parquet", corruption_errors(scores))
    samples = study.table([need for need in cell.needs if need.step == "01_data"], "samples")
    store.write_table(folder / "subgroups.parquet", subgroup_scores(predictions, samples, arms=arms, home=home))


def home_parts(study: "Study") -> dict[str, dict[str, list[str]]]:
    """Set of another centre -> its structures -> the structures of the networks' own set that each is made of."""
    if "organs" not in study.profile.tasks:
        return {}
    name_of = {classes[0]: name for name, (classes, _) in trained.own_structures(study, "organs").items()}
    labels = [choice.label for choice in study.profile.data["organs"].external_sets]
    return {
        label: {
            name: [name_of[k] for k in classes]
            for name, (classes, _) in trained.external_structures(study, "organs", label).items()
        }
        for label in labels
    }


def _in_families(comparisons: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Comparisons whose families tell them from those of the same scores between other arms."""
    return comparisons.assign(family=f"{prefix}: " + comparisons["family"])
