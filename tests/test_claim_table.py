"""The table of claims: what stands in it for a run of known effects, and where its links lead."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from comparison_rows import SAME_DATA, comparison_rows, with_controls
from docutils.nodes import make_id
from prediction_tables import ARMS, classification, segmentation

from ssrobust_lib.config import PROJECT
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.claim_table import CLAIM_COLUMNS, claim_parts, claim_table
from ssrobust_lib.statistics.claims import VERDICTS, Claim, Figure, Part
from ssrobust_lib.statistics.comparisons import compare_all
from ssrobust_lib.statistics.paper import paper_claims

MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02, "external dice": 0.05, "missed": 0.05}


@pytest.fixture(scope="module")
def comparisons():
    return comparison_rows()


@pytest.fixture(scope="module")
def judged(comparisons):
    return claim_table(comparisons, paper_claims(), MARGINS).set_index(["claim", "arm"])


def claim_of(*parts, **changed):
    figure = Figure(name="Table 1", page="notebooks/04_clean_eval", anchor="table-1-pneumonia")
    words = {
        "id": "a",
        "section": "3.3",
        "quote": "q",
        "compares": "c",
        "expected": "+",
        "paper": "",
        "figures": [figure],
    }
    return Claim(parts=parts, **(words | changed))


def one(table, claim, arm="jigsaw"):
    found = claim_table(table, [claim], MARGINS)
    return found[found["arm"] == arm].iloc[0]


def test_every_claim_stands_for_every_arm(judged):
    assert tuple(judged.reset_index().columns[:2]) == ("claim", "arm")
    assert set(judged.reset_index().columns) == set(CLAIM_COLUMNS)
    assert len(judged) == 2 * len(paper_claims()) and judged.index.is_unique
    assert set(judged["verdict"]) | set(judged["networks_verdict"]) <= set(VERDICTS)


def test_a_run_selects_as_many_rows_as_a_claim_asks_for():
    small = {"arms": ARMS[:2], "seeds": (0,)}
    predictions = [
        classification(n=12, **small).assign(feature_distance=np.linspace(0.1, 2, 12 * 2 * 36)),
        segmentation(n=6, gain=0.01, **small).assign(voxels_flipped=3, feature_distance=1.0),
        segmentation(n=6, gain=0.2, corruptions=(), name="kits19", structures=("kidney",), random=6, **small),
    ]
    table = compare_all(predictions, arms=ARMS[:2], seed=1, n_bootstrap=20)
    controls = [table.assign(arm=table["arm"].replace("jigsaw", SAME_DATA)), table.assign(reference=SAME_DATA)]
    table = pd.concat([table, controls[0][controls[0]["arm"] == SAME_DATA], controls[1][table["arm"] == "jigsaw"]])
    for claim in paper_claims():
        found = claim_parts(table, [claim], MARGINS, estimand="networks")
        counts = found[found["judged"] == "jigsaw"].groupby("part").size()
        assert counts.to_dict() == {k: part.rows for k, part in enumerate(claim.parts)}, claim.id


def test_known_effects_give_known_verdicts(judged):
    expected = {
        "superior-robustness-and-generalizability": "holds",
        "classification-robust-to-all-corruptions": "holds",
        "features-less-sensitive": "holds",
        "other-centre-dice": "holds",
        "clean-accuracy": "holds",
        "lags-behind-in-standard-metrics": "does not hold",
        "impulse-noise-exception": "does not hold",
        "impulse-noise-collapse": "does not hold",
        "marginal-differences": "does not hold",
        "no-flipped-labels": "does not hold",  # less, but not never
        "performance-above-the-floor": "holds",
        "owed-to-more-images": "not tested",
        "same-data-marginal-impact": "not tested",
    }
    for claim, verdict in expected.items():
        assert judged.loc[(claim, "jigsaw"), "verdict"] == verdict, claim
    same = judged.xs("scratch_aa", level="arm")
    assert not ((same["verdict"] == "holds") & same["expected"].isin(["+", "-"])).any()


def test_one_seed_leaves_the_method_undecided_and_these_networks_judged():
    judged = claim_table(comparison_rows(n_seeds=1), paper_claims(), MARGINS).set_index(["claim", "arm"])
    line = judged.loc[("clean-accuracy", "jigsaw")]
    assert (line["verdict"], line["reason"], line["networks_verdict"]) == ("undecided", "one seed", "holds")
    assert line["interval"] == "" and np.isnan(line["p_holm"]) and line["networks_p_holm"] == 0.0001
    assert line["networks_interval"] == "[+0.050, +0.150]" and "one seed" in line["note"]
    level = judged.loc[("performance-above-the-floor", "jigsaw")]
    assert level["networks_interval"] == "" and level["networks_verdict"] == "holds"
    tested = judged["verdict"] != "not tested"
    assert (judged.loc[tested, "verdict"] == "undecided").all() and (judged.loc[tested, "reason"] == "one seed").all()
    assert not judged.loc[("superior-robustness-and-generalizability", "jigsaw"), "this_run"].startswith("0 of")


def test_a_claim_on_a_control_arm_is_judged_in_the_row_of_every_arm():
    judged = claim_table(with_controls(), paper_claims(), MARGINS).set_index(["claim", "arm"])
    owed = judged.loc[("owed-to-more-images", "jigsaw")]
    assert owed["verdict"] == "holds" and owed["note"] == ""
    assert judged.loc[("owed-to-more-images", "scratch_aa"), "verdict"] == "not tested"
    same = judged.loc[("same-data-marginal-impact", "jigsaw")]
    assert same["verdict"] == "undecided" and "(+0.000)" in same["this_run"]  # equivalence_p says 0.9
    for claim in ("same-data-marginal-impact", "useful-for-domain-adaptation"):  # the A/A arm is no control arm
        again = judged.loc[(claim, "scratch_aa")]
        assert again["verdict"] == again["networks_verdict"] == "not tested" and again["this_run"] == ""
        assert "normal training again cannot stand in" in again["note"]
    alone = claim_table(with_controls(same_data_effect=0.1), paper_claims(), MARGINS).set_index(["claim", "arm"])
    assert alone.loc[("same-data-marginal-impact", "jigsaw"), "verdict"] == "does not hold"
    assert alone.loc[("owed-to-more-images", "jigsaw"), "verdict"] == "undecided"
    assert judged.loc[("clean-accuracy", "jigsaw"), "this_run"].startswith("0.600 against 0.500")  # not the control's


def test_without_the_control_arm_the_reason_is_given(judged):
    note = judged.loc[("owed-to-more-images", "jigsaw"), "note"]
    assert "jigsaw_same_data" in note and "comparisons of part" not in note


def test_numbers_of_a_single_comparison(judged):
    line = judged.loc[("other-centre-dice", "jigsaw")]
    assert line["this_run"] == "0.600 against 0.500 (+0.100), 12 scans, 3 seeds" and line["p_holm"] == 0.0001
    assert line["data_set"] == "organs: kits19" and line["interval"] == "[+0.050, +0.150]"
    assert line["paper"] == "0.670 ± 0.209 against 0.486 ± 0.246, p = 0.0002"
    assert line["figures"] == "Table 4" and line["links"].startswith("notebooks/06_kits_generalization#table-4")


def test_conjunction(comparisons):
    select = {"task": "organs", "scope": "corruption", "metric": "dice", "structure": ""}
    seven = claim_of(Part(rule="higher", rows=7, select=select))
    assert one(comparisons, seven)["verdict"] == "holds" and "7 of 7 hold" in one(comparisons, seven)["this_run"]
    blur = (comparisons["condition"] == "gaussian_blur") & (comparisons["metric"] == "dice")
    undecided = comparisons.copy()
    undecided.loc[blur, "method_p_holm"] = 0.5
    line = one(undecided, seven)
    assert line["verdict"] == "undecided" and line["p_holm"] == 0.5 and line["networks_verdict"] == "holds"
    assert "smallest difference found four times in five is 0.080, the margin 0.02" in line["note"]
    failed = undecided.copy()
    failed.loc[blur, "method_ci_high"] = 0.001
    line = one(failed, seven)
    assert line["verdict"] == "does not hold" and "gaussian_blur" in line["this_run"]
    assert line["interval"] == "[+0.050, +0.001]" and "gaussian_blur" not in line["networks_interval"]
    assert (
        line["networks_interval"] == "visceral dice, gaussian_noise: [+0.050, +0.150]"
    )  # another one is weakest there
    fewer = one(comparisons[~blur], seven)
    assert fewer["verdict"] == "undecided" and "6 of 7 comparisons" in fewer["note"]
    assert one(comparisons[comparisons["task"] != "organs"], seven)["verdict"] == "not tested"


def test_equivalence_of_several_is_the_largest_p(comparisons):
    rows = comparisons.assign(equivalence_p=np.where(comparisons["metric"] == "auroc", 0.04, 0.01))
    clean = {"role": "home", "scope": "clean", "metric": ["accuracy", "auroc", "dice"]}
    claim = claim_of(Part(rule="similar", rows=3, select=clean), expected="0")
    line = one(rows, claim, "scratch_aa")
    assert line["verdict"] == "holds" and line["p_equivalence"] == 0.04 and np.isnan(line["p_holm"])
    missing = rows.assign(equivalence_p=rows["equivalence_p"].where(rows["metric"] != "dice"))
    assert one(missing, claim, "scratch_aa")["verdict"] == "undecided"
    assert np.isnan(one(missing, claim, "scratch_aa")["p_equivalence"])


def test_notes_say_where_a_significant_gain_is_smaller_than_the_margin(comparisons):
    rows = comparisons.copy()
    rows.loc[rows["metric"] == "dice", ["difference", "method_ci_low", "method_ci_high"]] = [0.004, 0.001, 0.008]
    claim = next(claim for claim in paper_claims() if claim.id == "clean-dice")
    line = one(rows, claim)
    assert line["verdict"] == "holds" and "smaller than the margin of 0.02" in line["note"]


def test_an_unlearned_pretext_marks_its_arm_only(comparisons):
    columns = {"task": ["organs", "organs", "pneumonia"], "init": "jigsaw", "seed": [0, 1, 0]}
    pretext = pd.DataFrame(columns | {"learned": [False, False, True]})
    marked = claim_table(comparisons, paper_claims(), MARGINS, pretext).set_index(["claim", "arm"])["mark"]
    assert marked["clean-dice", "jigsaw"] == "pretext not learned (organs: seeds 0, 1)"
    assert marked["clean-dice", "scratch_aa"] == "" and marked["clean-accuracy", "jigsaw"] == ""
    with pytest.raises(ValueError, match="lacks learned"):
        claim_table(comparisons, paper_claims(), MARGINS, pretext.drop(columns="learned"))


def test_titles_replace_set_names(comparisons):
    titled = claim_table(comparisons, paper_claims(), MARGINS, titles={"kits19": "phantoms"})
    assert "organs: phantoms" in set(titled["data_set"])


def test_unknown_estimands_and_metrics_without_a_margin_raise(comparisons):
    with pytest.raises(UnknownNameError, match="method, networks"):
        claim_parts(comparisons, [], MARGINS, estimand="units")
    with pytest.raises(UnknownNameError, match="margins"):
        claim_table(comparisons, paper_claims(), {"accuracy": 0.03})


@pytest.mark.parametrize("page", sorted({figure.page for claim in paper_claims() for figure in claim.figures}))
def test_links_lead_to_headings_of_the_book(page):
    cells = json.loads((PROJECT / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    headings = {make_id(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    anchors = {figure.anchor for claim in paper_claims() for figure in claim.figures if figure.page == page}
    assert anchors <= headings, f"{page} lacks {sorted(anchors - headings)}; it has {sorted(headings)}"
