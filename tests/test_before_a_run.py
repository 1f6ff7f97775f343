"""What profile and tables contradict is told before anything runs; files that are not there stop it, if asked."""

from pathlib import Path

import pytest
import yaml
from own_sets import own_folder, own_profile

from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.datasets.cache import CacheError
from ssrobust_lib.datasets.loader import LayoutError
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.study import Study


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"where": {"ward": ["A"]}}, "has no column 'ward'; it has sample_id,"),
        ({"where": {"published_split": ["trial"]}}, r"in \['trial'\]; it has 'train'"),
        ({"external_sets": [{"set": "xrays/ward.yaml", "name": "away", "where": {"wrad": ["A"]}}]}, "no column 'wrad'"),
        ({"split": "patient", "validation": 2, "test": 500}, "^data.pneumonia: .*500"),
    ],
)
def test_choices_that_the_table_cannot_follow_are_told_before_anything_runs(tmp_path: Path, data, message) -> None:
    own_folder(tmp_path / "xrays")
    with pytest.raises(ProfileError, match=message):
        check_profile(load_profile(own_profile(tmp_path, **data)))


def test_a_faulty_label_is_told_before_anything_runs_whatever_the_split(tmp_path: Path) -> None:
    root = own_folder(tmp_path / "xrays")
    table = (root / "list.csv").read_text()
    (root / "list.csv").write_text(table.replace("images/train1.png,opacity", "images/train1.png,opacite"))
    profile = load_profile(own_profile(tmp_path, split="patient", validation=2, test=4))
    with pytest.raises(LayoutError, match="expected one other"):
        check_profile(profile)


@pytest.mark.parametrize("name", ["aurc", "extrenal dice"])
def test_a_margin_of_an_unknown_metric_is_told_before_anything_runs(tmp_path: Path, name: str) -> None:
    own_folder(tmp_path / "xrays")
    file = own_profile(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["statistics"]["margins"][name] = 0.1
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ProfileError, match=f"statistics.margins: unknown metric '{name}'"):
        check_profile(load_profile(file))


def test_a_file_that_is_not_there_stops_a_run_that_says_so(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "xrays")
    (folder / "images" / "train3.png").unlink()
    for policy in ("report", "stop"):
        study = Study(load_profile(own_profile(tmp_path, on_unreadable=policy)), runs=tmp_path / policy)
        if policy == "report":
            study.ensure(study.cells("01_data"))
            left_out = study.table(study.cells("01_data")[0], "left_out")
            assert left_out["path"].tolist() == ["images/train3.png"]
            continue
        with pytest.raises(CacheError, match=r"^1 of 32 images are missing .*images/train3.png.*no such file"):
            study.ensure(study.cells("01_data"))
