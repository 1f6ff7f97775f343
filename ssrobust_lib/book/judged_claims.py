"""The paper's claims, judged by a finished run: what the start page and notebooks 07 and 08 show.

Enters: a study whose statistics are finished. Leaves: the claim table of every arm.
"""

from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.cells import trained
from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES
from ssrobust_lib.profile_sections import CALIBRATED
from ssrobust_lib.statistics.claim_table import claim_table
from ssrobust_lib.statistics.paper import paper_claims
from ssrobust_lib.statistics.testability import Setting

if TYPE_CHECKING:
    from ssrobust_lib.study import Study


def judged_claims(study: "Study") -> pd.DataFrame:
    """Every claim for every arm, as `claim_table` gives it.

    Where the run has control arms, claims about more images are judged by the comparisons with them, too.
    """
    cells = study.cells("07_stats")
    comparisons = study.table(cells, "comparisons")
    if study.profile.controls:
        comparisons = pd.concat([comparisons, study.table(cells, "control_comparisons")], ignore_index=True)
    return claim_table(
        comparisons,
        paper_claims(),
        study.profile.statistics.margins,
        study.table(study.cells("02_pretext"), "accuracy"),
        setting=run_setting(study),
        seed_scores=study.table(cells, "seed_scores"),
    )


def run_setting(study: "Study") -> Setting:
    """What the run fixed before it measured: floors of its calibrated severities, and sides that another set merges."""
    profile = study.profile
    floors: dict[tuple[str, str], float] = {}
    for task in profile.tasks:
        if profile.calibration.severities_of(task) == CALIBRATED:
            table = study.table(study.cells("05_calibration", tasks=[task]), "severities")
            floors |= {
                (task, str(name)): float(floor) for name, floor in table.groupby("corruption")["floor"].first().items()
            }
    merged: dict[str, list[str]] = {}
    if "organs" in profile.tasks:
        for choice in profile.data["organs"].external_sets:
            structures = trained.external_structures(study, "organs", choice.label)
            of_sides = [
                n for n, (classes, _) in structures.items() if len(classes) > 1 and n not in ALTERNATIVE_STRUCTURES
            ]
            merged |= {choice.label: of_sides} if of_sides else {}
    return Setting(floors, merged)
