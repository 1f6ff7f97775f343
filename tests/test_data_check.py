"""`ssrobust data check`: a whole set passes, every planted fault is named with its file and reason."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archives import source
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import KERMANY, write_decathlon, write_dicom, write_pictures, write_rsna, xray
from real_images import REAL, needs_real_images

from ssrobust_lib import cli
from ssrobust_lib.data_command import check, checksums
from ssrobust_lib.data_command.check import Report, check_set, report_text
from ssrobust_lib.data_command.checksums import ChecksumFileError, compare, read_record, set_files, write_record
from ssrobust_lib.datasets.manifest import DataFolderError, KnownBad, Manifest, load_manifest


def published(name: str, **fields: object) -> Manifest:
    return load_manifest(name).model_copy(update={"counts": {}, **fields})


@pytest.fixture
def rsna(tmp_path: Path) -> Manifest:
    write_rsna(tmp_path / "rsna")
    return published("rsna", counts={"images": 4, "patients": 4, "labelled": 4, "positive": 2})


@pytest.fixture
def decathlon(tmp_path: Path) -> Manifest:
    write_decathlon(tmp_path / "openkbp")
    labels = {"Cord": 1, "Gland": 3}
    return published("openkbp", labels=labels, merge={}, counts={"images": 3, "labelled": 2})


def told(report: Report) -> list[tuple[str, str]]:
    return [(problem["file"], problem["reason"]) for problem in report.problems]


def line(report: Report, what: str) -> str:
    return dict(report.lines)[what]


def test_a_whole_set_has_no_problem(rsna, tmp_path):
    report = check_set(rsna, tmp_path)
    assert told(report) == [] and report.exit_code == 0
    assert line(report, "counts") == "4 of 4 images, 4 of 4 patients, 4 of 4 labelled, 2 of 2 positive"
    assert line(report, "images") == "4 of 4 images opened; 0 cannot be used"
    assert report_text(report).endswith("no problem found")


def test_scans_are_opened_with_their_label_maps(decathlon, tmp_path):
    report = check_set(decathlon, tmp_path)
    assert told(report) == []
    assert line(report, "images") == "3 of 3 scans opened, label maps of 2; 0 cannot be used"


def test_every_unreadable_file_is_named_with_its_reason(rsna, tmp_path):
    images = tmp_path / "rsna" / "stage_2_train_images"
    (images / "p0.dcm").write_bytes(b"not an image")
    write_dicom(images / "p1.dcm", xray() * 0)
    report = check_set(rsna, tmp_path)
    (first, why_first), (second, why_second) = told(report)
    assert (first, second) == ("stage_2_train_images/p0.dcm", "stage_2_train_images/p1.dcm")
    assert "not readable as DICOM" in why_first and "all pixels have one value" in why_second
    assert report.exit_code == 1 and "2 cannot be used" in line(report, "images")


def test_the_problems_do_not_depend_on_the_number_of_workers(rsna, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "XRAYS_PER_TASK", 1)
    (tmp_path / "rsna" / "stage_2_train_images" / "p2.dcm").write_bytes(b"")
    assert check_set(rsna, tmp_path, workers=2).problems == check_set(rsna, tmp_path, workers=1).problems != []


def test_a_missing_image_and_a_smaller_count_are_problems_unless_a_subset_is_meant(rsna, tmp_path):
    (tmp_path / "rsna" / "stage_2_train_images" / "p1.dcm").unlink()
    report = check_set(rsna, tmp_path)
    assert (
        "stage_2_train_images/p1.dcm",
        "in stage_2_train_labels.csv, but stage_2_train_images has no such file",
    ) in (told(report))
    assert ("", "images: expected 4, found 3 (--subset if that is on purpose)") in told(report)
    assert check_set(rsna, tmp_path, subset=True).exit_code == 0


def test_more_than_published_is_a_problem_in_any_case(rsna, tmp_path):
    report = check_set(rsna.model_copy(update={"counts": {"images": 3}}), tmp_path, subset=True)
    assert told(report) == [("", "images: expected 3, found 4")]


def test_a_known_bad_case_is_a_note_and_no_problem(rsna, tmp_path):
    bad = KnownBad(sample="p0", reason="turned upside down", source="its publisher")
    report = check_set(rsna.model_copy(update={"known_bad": (bad,), "counts": {"images": 3}}), tmp_path)
    assert report.exit_code == 0
    (note,) = report.notes
    assert "stage_2_train_images/p0.dcm: turned upside down (its publisher)" in note


def test_scans_that_a_rule_passes_over_are_counted_and_no_problem(tmp_path):
    from layouts import body, write_canonical

    from ssrobust_lib.datasets.visceral import NUMBERS

    silver = tmp_path / "visceral" / "silver"
    mask = np.zeros((6, 40, 40), np.uint8)
    mask[2:4, 15:20, 12:16] = 1
    for volume, numbers in (("10000005_1_CTce_ThAb", NUMBERS.values()), ("10000006_1_CTce_ThAb", [58])):
        write_canonical(silver / f"{volume}.nii.gz", body())
        for turn, number in enumerate(numbers):
            write_canonical(silver / f"{volume}_{number}_1.nii.gz", np.roll(mask, turn, axis=2))
    report = check_set(published("visceral", counts={"images": 1}), tmp_path)
    assert told(report) == []
    assert re.match(
        r"1 by the rule of the loader visceral; first .*000006.*19 of 20 structures", line(report, "left out")
    )
    assert "1 of 1 scans opened, label maps of 1" in line(report, "images")


def test_a_label_map_that_does_not_fit_its_scan_is_a_problem(decathlon, tmp_path):
    from layouts import write_canonical

    write_canonical(tmp_path / "openkbp" / "labelsTr" / "case_1.nii.gz", xray()[None])
    ((file, reason),) = told(check_set(decathlon, tmp_path))
    assert file == "imagesTr/case_1.nii.gz" and "case_1.nii.gz" in reason and "voxels" in reason


def test_an_empty_label_map_is_a_problem(decathlon, tmp_path):
    from layouts import write_canonical

    write_canonical(tmp_path / "openkbp" / "labelsTr" / "case_0.nii.gz", np.zeros((6, 40, 40), np.uint8))
    assert told(check_set(decathlon, tmp_path)) == [
        ("imagesTr/case_0.nii.gz", "the label map is empty: no voxel belongs to a structure")
    ]


def test_a_broken_table_is_a_problem_of_the_layout(rsna, tmp_path):
    (tmp_path / "rsna" / "stage_2_train_labels.csv").write_text("patientId\np0\n")
    report = check_set(rsna, tmp_path)
    assert report.problems[0]["what"] == "layout" and "has no column Target" in report.problems[0]["reason"]


def test_a_missing_folder_is_told_with_how_to_get_the_set(tmp_path):
    with pytest.raises(DataFolderError, match="How to get RSNA"):
        check_set(load_manifest("rsna"), tmp_path)


def test_quick_opens_nothing(rsna, tmp_path):
    (tmp_path / "rsna" / "stage_2_train_images" / "p0.dcm").write_bytes(b"")
    report = check_set(rsna, tmp_path, open_files=False)
    assert report.exit_code == 0 and line(report, "images") == "not opened"


def test_an_interrupted_check_tells_what_it_found_so_far(rsna, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "XRAYS_PER_TASK", 1)
    (tmp_path / "rsna" / "stage_2_train_images" / "p0.dcm").write_bytes(b"")
    real = check.open_samples

    def stopping(task: tuple) -> list:
        if task[0][0]["sample_id"] == "rsna/p2":
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(check, "open_samples", stopping)
    report = check_set(rsna, tmp_path)
    assert report.exit_code == 130 and not report.finished
    assert line(report, "images") == "2 of 4 images opened; 1 cannot be used"
    assert "stopped before the end" in report_text(report) and "no problem found" not in report_text(report)


def test_recorded_checksums_find_changed_missing_and_added_files(rsna, tmp_path):
    first = check_set(rsna, tmp_path, record=True, open_files=False)
    assert "of 6 files" in line(first, "own checksums")
    assert check_set(rsna, tmp_path, open_files=False).exit_code == 0
    images = tmp_path / "rsna" / "stage_2_train_images"
    write_dicom(images / "p0.dcm", xray(9), jpeg=True)
    os.rename(tmp_path / "rsna" / "stage_2_detailed_class_info.csv", images / "moved.csv")
    report = check_set(rsna, tmp_path, open_files=False)
    assert [(file, reason.split(":")[0]) for file, reason in told(report)] == [
        ("stage_2_detailed_class_info.csv", "is recorded, but not there"),
        ("stage_2_train_images/moved.csv", "is not in the recorded checksums"),
        ("stage_2_train_images/p0.dcm", "has changed"),
    ]
    again = check_set(rsna, tmp_path, record=True, open_files=False)
    assert again.exit_code == 0 and "from which 3 files differ" in again.notes[0]
    assert check_set(rsna, tmp_path, open_files=False).exit_code == 0


def test_checksums_lie_where_they_are_asked_for(rsna, tmp_path):
    place = tmp_path / "mine.txt"
    check_set(rsna, tmp_path, record=True, record_file=place, open_files=False)
    assert len(read_record(place)) == 6 and not (tmp_path / "rsna.sha256").exists()
    with pytest.raises(ChecksumFileError, match=r"--checksums FILE"):
        check_set(rsna, tmp_path, record=True, record_file=tmp_path / "nowhere" / "x", open_files=False)


@pytest.mark.skipif(subprocess.run(["sh", "-c", "command -v sha256sum"], capture_output=True).returncode != 0,
                    reason="sha256sum is not installed")  # fmt: skip
def test_sha256sum_reads_the_record(tmp_path):
    root = write_pictures(tmp_path / "kermany", [*KERMANY, "train/Größe (1).jpeg", "train/back\\slash.jpeg"])
    check_set(published("kermany"), tmp_path, record=True, open_files=False)
    done = subprocess.run(["sha256sum", "-c", "../kermany.sha256"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 7 and done.stderr == ""


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.just("ab" * 32)))
@settings(max_examples=200, deadline=None)
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, found):
    path = tmp_path_factory.getbasetemp() / "record"
    found = {name: digest for name, digest in found.items() if not name.startswith("./")}
    write_record(path, found)
    assert read_record(path) == found


@pytest.mark.parametrize("text", ["abc", "zz" * 32 + "  a", "ab" * 32 + " a", "ab" * 32 + "  "])
def test_what_is_no_record_is_refused_by_line(tmp_path, text):
    (tmp_path / "r").write_text("ab" * 32 + "  good\n\n" + text + "\n")
    with pytest.raises(ChecksumFileError, match="r: line 3: expected 64 hexadecimal digits"):
        read_record(tmp_path / "r")


def test_hidden_files_do_not_belong_to_a_set(tmp_path):
    for name in ("a/b.png", ".DS_Store", "a/.hidden/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set_files(tmp_path) == ["a/b.png"]


def test_comparing_equal_records_finds_nothing():
    assert compare({"a": "1"}, {"a": "1"}) == {}


def test_a_file_that_cannot_be_hashed_is_a_problem(rsna, tmp_path):
    (tmp_path / "rsna" / "gone.txt").symlink_to(tmp_path / "nowhere")
    report = check_set(rsna, tmp_path, record=True, open_files=False)
    assert told(report) == [("gone.txt", "cannot be read: No such file or directory")]


def test_a_published_file_that_is_here_is_compared(rsna, tmp_path):
    table = (tmp_path / "rsna" / "stage_2_train_labels.csv").read_bytes()
    right = source("https://example.org/t", table, name="stage_2_train_labels.csv")
    wrong = right.model_copy(update={"sha256": "0" * 64})
    for file, problems in ((right, 0), (wrong, 1)):
        report = check_set(rsna.model_copy(update={"files": (file,)}), tmp_path, open_files=False)
        assert line(report, "published checksums") == "1 published files compared"
        assert len(report.problems) == problems
    assert "expected sha256 0000" in told(report)[0][1]


def test_the_command_ends_with_an_exit_code_and_a_table(rsna, tmp_path, monkeypatch, capsys):
    (tmp_path / "rsna" / "stage_2_train_images" / "p0.dcm").write_bytes(b"")
    report = tmp_path / "problems.csv"
    arguments = ["data", "check", "rsna", "--root", str(tmp_path), "--subset", "--workers", "1"]
    assert cli.run([*arguments, "--report", str(report)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"1 problem:\n  images: stage_2_train_images/p0\.dcm: ", said)
    table = pd.read_csv(report)
    assert list(table) == ["what", "file", "reason"] and list(table["file"]) == ["stage_2_train_images/p0.dcm"]
    (tmp_path / "rsna" / "stage_2_train_images" / "p0.dcm").unlink()
    assert cli.run(arguments) == 0
    assert cli.run([*arguments, "--report", str(tmp_path / "nowhere" / "x.csv")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_many_problems_are_cut_short_on_the_terminal_only():
    report = Report("a", "A", "/a", problems=[{"what": "images", "file": f"{k}", "reason": "bad"} for k in range(30)])
    text = report_text(report)
    assert "images: 19: bad" in text and "images: 20: bad" not in text and "... and 10 more" in text
    assert len(report.table()) == 30


def test_digests_of_files_do_not_depend_on_threads(tmp_path):
    for k in range(20):
        (tmp_path / f"{k:02}").write_bytes(bytes([k]) * k)
    paths = set_files(tmp_path)
    one, four = (list(checksums.digests(tmp_path, paths, workers=n)) for n in (1, 4))
    assert one == four and [path for path, _ in one] == paths


@needs_real_images
@pytest.mark.parametrize("name", ["rsna", "nih"])
def test_real_sets_are_readable(name):
    report = check_set(load_manifest(name), Path(REAL), subset=True, workers=2)
    assert told(report) == [] and report.exit_code == 0


def test_a_report_fits_the_terminal_and_names_each_file_once(rsna, tmp_path):
    (tmp_path / "rsna" / "stage_2_train_images" / "p0.dcm").write_bytes(b"not an image")
    report = check_set(rsna, tmp_path)
    report.lines.append(("layout", "as expected " + "word " * 60))
    broken, whole = report_text(report, width=80), report_text(report)
    assert max(map(len, broken.splitlines())) <= max(80, len(report.folder) + 23)
    assert broken.split() == whole.split()
    assert sum("p0.dcm" in line for line in whole.splitlines()) == 1
    assert "images: stage_2_train_images/p0.dcm: not readable as DICOM" in whole


@pytest.mark.parametrize(("content", "why"), [(b"", "No columns"), (b"a,b\n1,2\n1,2,3\n", "3"), (b"\xe9", "UTF-8")])
def test_a_damaged_label_table_is_a_problem_of_the_layout(rsna, tmp_path, content, why):
    (tmp_path / "rsna" / "stage_2_train_labels.csv").write_bytes(content)
    (problem,) = check_set(rsna, tmp_path).problems
    assert (
        problem["what"] == "layout" and "stage_2_train_labels.csv: " in problem["reason"] and why in problem["reason"]
    )


def test_a_set_of_ones_own_is_told_by_its_counts(tmp_path):
    write_pictures(tmp_path / "xrays", ["a.png", "b.png", "c.png"])
    (tmp_path / "xrays" / "labels.csv").write_text("path,label,patient\na.png,1,x\nb.png,0,x\nc.png,,y\n")
    (tmp_path / "own.yaml").write_text("loader: classification_csv\nfolder: xrays\n")
    report = check_set(load_manifest(tmp_path / "own.yaml"), None)
    assert line(report, "counts") == "3 images, 2 patients, 2 labelled, 1 positive"
    assert "published checksums" not in dict(report.lines)


def test_a_known_bad_case_that_is_none_is_noted(tmp_path):
    write_pictures(tmp_path / "xrays", ["a.png", "b.png"])
    (tmp_path / "xrays" / "labels.csv").write_text("path,label\na.png,1\nb.png,0\n")
    bad = "known_bad:\n- {sample: a.png, reason: blurred, source: us}\n- {sample: c.png, reason: dark, source: us}\n"
    (tmp_path / "own.yaml").write_text(f"loader: classification_csv\nfolder: xrays\n{bad}")
    report = check_set(load_manifest(tmp_path / "own.yaml"), None)
    assert "known_bad names 'c.png', which is no sample" in report.notes[-1] and "a.png: blurred" in report.notes[0]


def test_what_is_wrong_with_a_label_map_names_its_own_file(decathlon, tmp_path):
    (tmp_path / "openkbp" / "labelsTr" / "case_1.nii.gz").write_bytes(b"")
    ((file, reason),) = told(check_set(decathlon, tmp_path))
    assert file == "imagesTr/case_1.nii.gz"
    assert reason == "its label map labelsTr/case_1.nii.gz: the file is empty (0 bytes)"


def test_a_layout_that_nobody_has_compared_says_so(rsna, tmp_path):
    for verified, words in (("no: from the readme only", "from the readme only"), ("no", "nobody has read them")):
        layout = rsna.layout.model_copy(update={"verified": verified})
        report = check_set(rsna.model_copy(update={"layout": layout}), tmp_path, open_files=False)
        assert line(report, "layout") == f"as expected (never compared with real files: {words})"
