"""A finished run's claims: what it fixed beforehand, and the change from the home set over the structures of both."""

import numpy as np

from ssrobust_lib.book.judged_claims import judged_claims, run_setting
from ssrobust_lib.cells import trained
from ssrobust_lib.study import Study


def test_the_setting_of_a_run_is_its_floors_and_merged_sides(tiny_study):
    setting = run_setting(tiny_study)
    severities = tiny_study.table(tiny_study.cells("05_calibration", tasks=["organs"]), "severities")
    for row in severities.to_dict("records"):
        assert setting.floors["organs", row["corruption"]] == row["floor"]
    structures = trained.external_structures(tiny_study, "organs", "kits19")
    assert len(structures["kidney"][0]) == 2 and setting.merged == {"kits19": ["kidney"]}
    calibration = tiny_study.profile.calibration.model_copy(update={"severities": "imagenet_c"})
    profile = tiny_study.profile.model_copy(update={"calibration": calibration})
    elsewhere = Study(profile, read_only=True, runs=tiny_study.folder.parent)
    assert run_setting(elsewhere).floors == {}


def test_a_missing_kidney_is_not_tested_where_both_are_one(tiny_study):
    claims = judged_claims(tiny_study).set_index("claim")
    line = claims.loc["other-centre-missed"].iloc[0]
    assert line["verdict"] == "not tested" and "on kits19 both sides are labelled as one (kidney)" in line["reason"]


def test_the_change_from_the_home_set_is_kidney_against_kidney(tiny_study):
    table = tiny_study.table(tiny_study.cells("07_stats"), "comparisons")
    gap = table[(table["metric"] == "dice gap") & (table["role"] == "external")].iloc[0]
    home = tiny_study.table(tiny_study.cells("04_clean_eval", tasks=["organs"]), "predictions")
    away = tiny_study.table(tiny_study.cells("06_kits_generalization"), "predictions")

    def mean_dice(rows, names):
        rows = rows[(rows["init"] == "scratch") & rows["structure"].isin(names)].copy()
        rows["overlap"] = rows["voxels_overlap"] + rows["voxels_mirrored"].fillna(0)
        scans = rows.groupby(["seed", "sample_id"])[["overlap", "voxels_label", "voxels_predicted"]].sum()
        scans = scans[scans["voxels_label"] > 0].astype(float)
        return (2 * scans["overlap"] / (scans["voxels_label"] + scans["voxels_predicted"])).mean()

    expected = mean_dice(away, ["kidney"]) - mean_dice(home, ["right_kidney", "left_kidney"])
    np.testing.assert_allclose(gap["mean_reference"], expected)
    assert "Dice of kidney on both sides" in gap["note"]
