"""The paper's claims, judged by a finished run: what the start page and notebooks 07 and 08 show.

Enters: a study whose statistics are finished. Leaves: the claim table of every arm.
"""

from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.statistics.claim_table import claim_table
from ssrobust_lib.statistics.paper import paper_claims

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
    pretext = study.table(study.cells("02_pretext"), "accuracy")
    return claim_table(comparisons, paper_claims(), study.profile.statistics.margins, pretext)
