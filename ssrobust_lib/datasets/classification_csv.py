"""X-rays of one's own: any table of images with a label, over DICOM, PNG or JPEG files (the question of the paper's
section 3.1, asked of the reader's images).

In: a CSV (UTF-8; comma, semicolon or tab) with one row per image: path and label, optionally patient and split (train,
val, test, unlabelled, external). Column names, and which labels are the positive class, come from the manifest's
`loader_options`. Out: one sample per row. Rows of the split unlabelled have no label; the split becomes the column
published_split, which the study follows under ``split: given``; every further column is metadata. What contradicts
itself is refused with the table's lines.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import age_in_years, read_dicom, read_picture
from ssrobust_lib.datasets.loader import (
    LOADERS,
    SAMPLE_COLUMNS,
    LayoutError,
    Loader,
    OptionError,
    Row,
    UnreadableImageError,
    XRay,
)
from ssrobust_lib.datasets.own_table import Table, check_columns, find_file, read_own_table
from ssrobust_lib.registry import unknown_name

TABLE = "labels.csv"
ROLES = ("path", "label", "patient", "split")
NEEDED = ("path", "label")
SPLITS = ("train", "val", "test", "unlabelled", "external")
# columns that the samples table or the cache fill in themselves
_OF_THE_STUDY = ("split", "published_split", "left_out", "kept_out", "on_disk", "label_file")
_OF_THE_CACHE = ("slice", "labelled_voxels", "content_hash")
RESERVED = frozenset((*SAMPLE_COLUMNS, *_OF_THE_STUDY, *_OF_THE_CACHE))
_DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", "")


class ClassificationCsvLoader(Loader):
    """A table of one's own X-rays; `path` is relative to the set's folder, or absolute."""

    name = "classification_csv"
    kind = "xray"
    reads_own_images = True

    def needed_files(self, **options: Any) -> list[str]:
        return [str(options.get("table", TABLE))]

    def check_options(self, **options: Any) -> None:
        columns = options.get("columns", {})
        check_columns(columns, ROLES)
        _label_values(options.get("positive"), options.get("negative"))
        table = options.get("table", TABLE)
        if not isinstance(table, str) or not table or Path(table).is_absolute():
            raise OptionError(("table",), f"table: expected the path of a CSV below the set's folder, got {table!r}")

    def list_images(
        self,
        root: Path,
        *,
        table: str = TABLE,
        columns: Mapping[str, str] | None = None,
        positive: Any = None,
        negative: Any = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """List the rows of the table.

        Parameters
        ----------
        root : folder of the set
        table : the CSV, relative to `root`
        columns : role (path, label, patient, split) -> name of its column, where it is called otherwise
        positive, negative : label or labels of either class. With neither, labels are 0 and 1; with `positive` alone,
            exactly one other label may occur

        Raises
        ------
        LayoutError
            For a table that is missing, not UTF-8, or lacks a column; for unknown labels or splits, images listed
            twice, rows without a label, and patients on both sides of a given split. Missing files are left out.
        """
        columns = dict(columns or {})
        self.check_options(table=table, columns=columns, positive=positive, negative=negative)
        read = read_own_table(Path(root) / table)
        names = _columns_of(read, columns)
        paths = _paths(read, names["path"])
        splits = _splits(read, names["split"]) if "split" in names else [""] * len(read.rows)
        labels = _labels(read, names["label"], splits, positive, negative)
        patients = _patients(read, names["patient"]) if "patient" in names else paths
        _refuse_crossing_patients(read, patients, splits)
        used = set(names.values())
        images = []
        for k, (line, row) in enumerate(read.rows):
            found = find_file(Path(root), paths[k])
            image: dict[str, Any] = {
                "sample_id": paths[k],
                "patient_id": patients[k],
                "image": found or paths[k],
                "label": labels[k],
                "has_label": labels[k] is not None,
                "left_out": None if found else f"in {table} (line {line}), but there is no such file",
            }
            extra: dict[str, Any] = {_free_name(name): value for name, value in row.items() if name not in used}
            if "age" in extra:
                extra["age"] = age_in_years(extra["age"])
            images.append(image | ({"published_split": splits[k]} if "split" in names else {}) | extra)
        if all(image["left_out"] for image in images):
            raise LayoutError(
                f"{read.path}: none of its {len(images)} images is there, the first: {Path(root) / paths[0]}. Paths "
                f"are relative to {root}, the set's folder"
            )
        return images

    def read_image(self, root: Path, row: Row) -> XRay:
        path = Path(root) / row["image"]
        return read_dicom(path) if holds_dicom(path) else read_picture(path)


def holds_dicom(path: Path) -> bool:
    """Whether a file is DICOM rather than PNG or JPEG, by its first bytes; by its name where those say nothing.

    Raises
    ------
    UnreadableImageError
        If the file cannot be read, or is none of the three.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be read ({error.strerror})") from error
    if start[:8] == b"\x89PNG\r\n\x1a\n" or start[:3] == b"\xff\xd8\xff":
        return False
    if start[128:132] == b"DICM" or (start and path.suffix.lower() in _DICOM_SUFFIXES):
        return True
    raise UnreadableImageError(f"{path.name}: {'neither DICOM, PNG nor JPEG' if start else 'an empty file'}")


def _columns_of(table: Table, columns: Mapping[str, str]) -> dict[str, str]:
    """Role -> column that is there; patient and split may be absent unless the manifest names them."""
    names = {}
    for role in ROLES:
        column = columns.get(role, role)
        if column in table.columns:
            names[role] = column
        elif role in columns or role in NEEDED:
            raise LayoutError(
                f"{table.path} has no column {column!r} for the {role}; its columns are {', '.join(table.columns)}. "
                f"Name the right one in the manifest: loader_options: {{columns: {{{role}: ...}}}}"
            )
    return names


def _paths(table: Table, column: str) -> list[str]:
    """Path of every row, normalised; none empty, none twice."""
    paths = table.values(column, empty=False)
    table.refuse_repeated(paths)
    return paths


def _patients(table: Table, column: str) -> list[str]:
    return table.values(column, empty=False, is_path=False)


def _splits(table: Table, column: str) -> list[str]:
    splits = [value.lower() for value in table.values(column, empty=False, is_path=False)]
    for (line, _), split in zip(table.rows, splits, strict=True):
        if split not in SPLITS:
            raise LayoutError(f"{table.path}, line {line}: {unknown_name('split', split, list(SPLITS))}")
    return splits


def _labels(table: Table, column: str, splits: Sequence[str], positive: Any, negative: Any) -> list[int | None]:
    """0, 1 or None of every row; a row may lack a label where its split is unlabelled, or where there are no splits."""
    texts = table.values(column, is_path=False)
    wanted = [text for text, split in zip(texts, splits, strict=True) if text and split != "unlabelled"]
    values = _label_values(positive, negative, wanted)
    labels: list[int | None] = []
    for (line, _), text, split in zip(table.rows, texts, splits, strict=True):
        if split == "unlabelled" or (not text and not split):
            labels.append(None)
        elif not text:
            raise LayoutError(f"{table.path}, line {line}: no label in split {split!r}: write unlabelled as its split")
        elif text in values:
            labels.append(values[text])
        else:
            known = ", ".join(f"{name!r} ({'positive' if value else 'negative'})" for name, value in values.items())
            raise LayoutError(
                f"{table.path}, line {line}: unknown label {text!r}: expected one of {known}. The manifest's "
                "loader_options say which labels are positive and which negative"
            )
    if not wanted:
        raise LayoutError(f"{table.path}: no row has a label in column {column!r}")
    return labels


def _label_values(positive: Any, negative: Any, found: Sequence[str] = ()) -> dict[str, int]:
    """Label -> 0 or 1, from what the manifest declares and, for an undeclared negative class, the labels found."""
    if positive is None:
        if negative is not None:
            problem = "negative labels are declared, positive ones are not: say which label is positive"
            raise OptionError(("negative",), problem)
        return {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    ones, zeros = _as_labels("positive", positive), _as_labels("negative", negative)
    both = sorted(set(ones) & set(zeros))
    if both:
        raise OptionError(("negative",), f"the label {both[0]!r} is declared both positive and negative")
    if not zeros and found:
        others = sorted(set(found) - set(ones))
        if len(others) > 1:
            raise LayoutError(
                f"labels besides {', '.join(map(repr, ones))} are {', '.join(map(repr, others[:6]))}: expected one "
                "other. Declare which are negative in the manifest: loader_options: {negative: [...]}"
            )
        zeros = others
    return dict.fromkeys(zeros, 0) | dict.fromkeys(ones, 1)


def _as_labels(option: str, declared: Any) -> list[str]:
    """Labels as text, from one or a list of them; YAML may have read a number or a truth value."""
    if declared is None:
        return []
    values = list(declared) if isinstance(declared, list | tuple) else [declared]
    if not values or not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        raise OptionError((option,), f"{option}: expected a label or a list of labels in quotes, got {declared!r}")
    return [str(value).strip() for value in values]


def _refuse_crossing_patients(table: Table, patients: Sequence[str], splits: Sequence[str]) -> None:
    """A patient belongs to one given split; an unlabelled image beside training images is no crossing."""
    sides: dict[str, dict[str, int]] = defaultdict(dict)
    for (line, _), patient, split in zip(table.rows, patients, splits, strict=True):
        if split:
            sides[patient].setdefault("train" if split == "unlabelled" else split, line)
    crossing = {patient: where for patient, where in sides.items() if len(where) > 1}
    if crossing:
        shown = "; ".join(
            f"{patient!r} in {' and '.join(f'{split} (line {line})' for split, line in where.items())}"
            for patient, where in list(crossing.items())[:5]
        )
        raise LayoutError(
            f"{table.path}: patients in more than one split ({len(crossing)}): {shown}. A patient's images belong "
            "on one side (unlabelled ones count as training): give all of them one split"
        )


def _free_name(column: str) -> str:
    return f"{column}_given" if column in RESERVED else column


LOADERS.register("classification_csv")(ClassificationCsvLoader())
