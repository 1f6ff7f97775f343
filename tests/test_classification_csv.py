"""A table of one's own X-rays: read as it stands, and what contradicts itself is named by its line."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import write_dicom, write_own_csv, write_pictures, xray

from ssrobust_lib.datasets import LOADERS, LayoutError, UnreadableImageError
from ssrobust_lib.datasets.loader import OptionError
from ssrobust_lib.datasets.own_table import read_own_table

LOADER = LOADERS["classification_csv"]
OPTIONS = {"columns": {"path": "file", "label": "finding", "patient": "person", "split": "part"}, "positive": "sick"}


def write_table(root: Path, *rows: str, header: str = "path,label", name: str = "labels.csv", encoding: str = "utf-8"):
    """A table, and a picture for every row whose path ends in .png."""
    (root / name).write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    pictures = [row.split(",")[0].split(";")[0] for row in rows]
    write_pictures(root, [name for name in dict.fromkeys(pictures) if name.endswith(".png") and "\\" not in name])
    return root


def listed(root: Path, **options):
    return LOADER.survey(root, set_name="mine", **options)[0]


def test_dicom_png_and_jpeg_stand_in_one_table(tmp_path: Path) -> None:
    samples, left_out = LOADER.survey(write_own_csv(tmp_path), set_name="mine")
    assert left_out.empty
    assert samples["image"].tolist() == ["a/one.png", "a/two.jpeg", "b/four", "b/three.dcm", "c/Ödem.png"]
    assert samples["label"].tolist() == [0, 1, 0, 1, 1]
    assert samples["sample_id"].tolist() == ["mine/" + image for image in samples["image"]]
    for row in samples.to_dict("records"):
        pixels = LOADER.read_image(tmp_path, row).pixels
        assert np.abs(pixels - xray(int(row["seed"])) / 255).mean() < 0.03  # JPEG


def test_columns_labels_and_splits_come_from_the_manifest(tmp_path: Path) -> None:
    rows = ("a.png,sick,007,train,X", "b.png,fine,007,Train,Y", "c.png,,8,unlabelled,X", "d.png,sick,9,external,Z")
    write_table(tmp_path, *rows, header="file,finding,person,part,site")
    samples = listed(tmp_path, **OPTIONS)
    assert [
        None if value is None else int(value)
        for value in samples["label"].astype(object).where(samples["has_label"], None)
    ] == [1, 0, None, 1]
    assert samples["patient_id"].tolist() == ["mine/007", "mine/007", "mine/8", "mine/9"]
    assert samples["published_split"].tolist() == ["train", "train", "unlabelled", "external"]
    assert samples["site"].tolist() == ["X", "Y", "X", "Z"]
    assert samples["has_label"].tolist() == [True, True, False, True]


def test_without_a_patient_column_every_image_is_a_patient_and_without_a_split_rows_may_lack_a_label(tmp_path) -> None:
    samples = listed(write_table(tmp_path, "a.png,1", "b.png,0", "c.png,"))
    assert samples["patient_id"].is_unique and samples["has_label"].tolist() == [True, True, False]
    assert "published_split" not in samples


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_separators_byte_order_marks_blank_lines_and_quotes(tmp_path: Path, separator: str, mark: str) -> None:
    header, row = separator.join(("path", "label", "note")), separator.join(("a.png", "1", f'"x{separator}y\nz"'))
    (tmp_path / "labels.csv").write_text(f"{header}\r\n{row}\r\n\r\n", encoding=mark)
    write_pictures(tmp_path, ["a.png"])
    assert listed(tmp_path)["note"].tolist() == [f"x{separator}y\nz"]


def test_names_with_accents_are_found_however_they_are_composed_and_so_are_backslashes(tmp_path: Path) -> None:
    write_table(tmp_path, unicodedata.normalize("NFD", "Röntgen_é.png") + ",1", "deep\\b.png,0")
    for file in tmp_path.glob("R*.png"):
        file.rename(tmp_path / unicodedata.normalize("NFC", file.name))
    write_pictures(tmp_path, ["deep/b.png"])
    samples, left_out = LOADER.survey(tmp_path)
    assert left_out.empty and len(samples) == 2
    for row in samples.to_dict("records"):
        assert LOADER.read_image(tmp_path, row).pixels.shape == (32, 32)


def test_several_labels_may_form_a_class(tmp_path: Path) -> None:
    write_table(tmp_path, "a.png,viral", "b.png,bacterial", "c.png,clear", "d.png,scar")
    options = {"positive": ["viral", "bacterial"], "negative": ["clear", "scar"]}
    assert listed(tmp_path, **options)["label"].tolist() == [1, 1, 0, 0]


def test_a_missing_file_is_left_out_with_its_line_and_a_table_without_any_file_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path, "a.png,1", "gone.jpg,0")
    left_out = LOADER.survey(tmp_path)[1]
    assert left_out[["path", "reason"]].values.tolist() == [
        ["gone.jpg", "in labels.csv (line 3), but there is no such file"]
    ]
    (tmp_path / "a.png").unlink()
    with pytest.raises(
        LayoutError, match=r"none of its 2 images is there, the first: .*a\.png\. Paths are relative to"
    ):
        LOADER.survey(tmp_path)


def test_columns_that_the_study_makes_itself_are_kept_under_another_name(tmp_path: Path) -> None:
    write_table(tmp_path, "a.png,1,x,why,048Y", header="path,label,set,left_out,age")
    row = listed(tmp_path).iloc[0]
    assert (row["set"], row["set_given"], row["left_out_given"], row["age"]) == ("mine", "x", "why", 48.0)


GOOD = ("a.png,sick,1,train", "b.png,fine,2,train")
FAULTS = [
    ((*GOOD, "c.png,sikc,3,train"), {}, "labels besides 'sick' are 'fine', 'sikc': expected one other"),
    ((*GOOD, "c.png,sikc,3,train"), {"negative": "fine"}, r"line 4: unknown label 'sikc': .*'fine' \(negative\)"),
    ((*GOOD, "c.png,sick,3,training"), {}, r"line 4: unknown split 'training'.*Did you mean 'train'"),
    ((*GOOD, "c.png,sick,3,"), {}, "line 4: column 'part' is empty"),
    ((*GOOD, "c.png,,3,test"), {}, "line 4: no label in split 'test': write unlabelled"),
    ((*GOOD, "c.png,sick,,test"), {}, "line 4: column 'person' is empty"),
    ((*GOOD, ",sick,3,test"), {}, "line 4: column 'file' is empty"),
    ((*GOOD, "./a.png,sick,3,test"), {}, r"1 rows repeat an image \('a\.png' in lines 2 and 4\)"),
    ((*GOOD, "c.png,sick,1,test"), {}, r"patients in more than one split \(1\): '1' in train \(line 2\) and test"),
    ((*GOOD, "c.png,,1,unlabelled", "d.png,sick,9,test", "e.png,,9,unlabelled"), {}, r"'9' in test .* and train"),
    ((*GOOD, "c.png,sick,3"), {}, "line 4: expected 4 cells as in the header, found 3"),
    ((*GOOD, 'c.png,"si"ck,3,train'), {}, "line 4: not a valid CSV"),
    (
        GOOD,
        {"columns": {"path": "file", "label": "diagnosis"}},
        r"no column 'diagnosis' for the label; its columns are ",
    ),
    (GOOD, {"columns": {"path": "file", "label": "finding", "patient": "id"}}, "no column 'id' for the patient"),
    (GOOD, {"positive": None}, r"line 2: unknown label 'sick': expected one of '0' \(negative\), '1' \(positive\)"),
    (GOOD, {"table": "other.csv"}, "other.csv is missing"),
    ((), {}, "labels.csv has no rows"),
    (("a.png,,1,unlabelled",), {}, "no row has a label"),
]


@pytest.mark.parametrize(("rows", "changed", "message"), FAULTS)
def test_what_contradicts_itself_is_refused_by_line(tmp_path: Path, rows, changed, message: str) -> None:
    write_table(tmp_path, *rows, header="file,finding,person,part")
    with pytest.raises(LayoutError, match=message):
        LOADER.survey(tmp_path, **{**OPTIONS, **changed})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"pfad": "file"}}, "unknown role of a column 'pfad'"),
        ({"columns": {"path": 3}}, "path: expected the name of a column, got 3"),
        ({"columns": {"path": "a", "label": "a"}}, "one column cannot be two things"),
        ({"columns": "path"}, "expected role: column"),
        ({"positive": True}, "expected a label or a list of labels in quotes, got True"),
        ({"positive": []}, "expected a label"),
        ({"negative": "fine"}, "positive ones are not"),
        ({"positive": ["a"], "negative": ["a"]}, "declared both"),
        ({"table": "/etc/labels.csv"}, "below the set's folder"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        LOADER.check_options(**options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nä.png,1\n".encode("latin-1"), "line 2: not UTF-8 text"),
        (b"", "is empty: expected a header"),
        (b"path,label,path\n", "names the column 'path' twice"),
        (b"path,,label\n", "column 2 of the header has no name"),
        (b"path,label\na\0.png,1\n", "none of its 1 images|not a valid CSV"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(LayoutError, match=message):
        LOADER.survey(tmp_path)


def test_what_is_no_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.nii", b"x" * 400, "neither DICOM, PNG nor JPEG"),
        ("b.png", b"", "an empty file"),
        ("c.dcm", b"x" * 400, "not readable as DICOM"),
        ("d.png", b"\x89PNG\r\n\x1a\n" + b"x" * 40, "not readable as PNG"),
        ("e.png", None, "cannot be read"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=f"{name}: .*{message}"):
            LOADER.read_image(tmp_path, {"image": name})


def test_the_kind_of_file_is_told_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    (tmp_path / "a.png").rename(tmp_path / "a.dcm")
    write_dicom(tmp_path / "b.dcm", xray(3))
    (tmp_path / "b.dcm").rename(tmp_path / "b.png")
    for name in ("a.dcm", "b.png"):
        assert LOADER.read_image(tmp_path, {"image": name}).pixels.shape == (32, 32)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(alphabet='pathlbe,;\t"\n\r 01é', max_size=120).map(str.encode))
def test_no_table_makes_the_reader_fail_otherwise(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    try:
        table = read_own_table(path)
    except LayoutError as error:
        assert str(path) in str(error)
    else:
        assert table.rows and all(set(row) == set(table.columns) for _, row in table.rows)
