"""What every data-set loader offers: a list of its images, and a reader that decodes one of them.

In: the root folder of a set, laid out as its publisher lays it out. Out: the samples table (one row per image or
scan), an `XRay` or a `Volume` per row, and for CT the label map. Sets of the paper's section 3.1 and stand-ins for
them.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from ssrobust_lib.registry import Registry, unknown_name

Row: TypeAlias = "Mapping[str, Any] | pd.Series[Any]"

SAMPLE_COLUMNS = ("sample_id", "patient_id", "set", "image", "label", "has_label")
PROBLEM_COLUMNS = ("sample_id", "path", "reason")
# header -> where its voxels may lie beside it
DETACHED = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}


class UnreadableImageError(ValueError):
    """A file that cannot be used as the image or label that it should be; the message says which file and why."""


class LayoutError(ValueError):
    """A folder that is not laid out as the loader expects; the message says what is missing and where."""


class OptionError(ValueError):
    """An option of a loader that cannot be meant.

    Parameters
    ----------
    location : path of the value among the options, e.g. ("columns", "patient")
    message : what was expected, what came, what to do
    """

    def __init__(self, location: tuple[str | int, ...], message: object) -> None:
        super().__init__(str(message))
        self.location = location


@dataclass(frozen=True)
class XRay:
    """One radiograph.

    Attributes
    ----------
    pixels : float32 (H, W) in [0, 1], bright = dense (MONOCHROME2)
    metadata : what only the file's own header tells (RSNA: view, sex, age in years)
    """

    pixels: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Volume:
    """One CT scan in canonical axes.

    Attributes
    ----------
    hu : float32 (slice, row, column) in Hounsfield units; slice 0 is the most inferior, row 0 the most anterior,
        column 0 the patient's right
    spacing_mm : voxel size along (slice, row, column) in mm
    """

    hu: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Source:
    """Where a set's images come from.

    Attributes
    ----------
    loader : its name in `LOADERS`
    root : folder of the set
    structures : for CT, the structures of its label maps in the order of their values
    name : of the set, whatever a study calls the part of it that it uses; the loader's name where it is empty
    """

    loader: str
    root: Path
    structures: tuple[str, ...] = ()
    name: str = ""


class Loader(ABC):
    """Reads one published layout. Subclasses list the files and decode one; the tables are made here."""

    name: str
    kind: Literal["xray", "ct"]
    # whether it reads images of the user's own, in a layout that no publisher prescribes
    reads_own_images: bool = False
    # whether what it leaves out although it is there is left out by a rule of selection, and no fault of the folder
    leaves_out_by_rule: bool = False
    # options with which a sample is a row of the label table, for a split of rows
    row_options: Mapping[str, Any] = {}

    def option_names(self) -> list[str]:
        """Names of the loader's own options: the keywords that its `list_images` spells out."""
        parameters = inspect.signature(self.list_images).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    def check_options(self, **options: Any) -> None:  # noqa: B027 (most loaders have nothing to refuse)
        """Raise `OptionError` for values that the loader cannot work with; opens no file."""

    def needed_files(self, **options: Any) -> list[str]:
        """Patterns, relative to the set's folder, that must each match a file; for manifests that state no layout."""
        return ["*"]

    def structures(self, root: Path) -> tuple[str, ...]:
        """Structures that the folder itself names, in the order of their values; empty where it names none."""
        return ()

    @abstractmethod
    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        """List every image that the set's files speak of, by its own (unprefixed) names.

        Returns
        -------
        one mapping per image: sample_id, patient_id, image (path relative to `root`), label (0, 1 or None), has_label,
        any metadata, and `left_out` (why the image cannot be used) where that is known without decoding it.

        Raises
        ------
        LayoutError
            If the files that the layout rests on are not there.
        """

    @abstractmethod
    def read_image(self, root: Path, row: Row) -> XRay | Volume:
        """Decode the image of one row of the samples table; raises `UnreadableImageError`."""

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        """Label map of one scan: uint8 (slice, row, column), k for `structures[k - 1]`, 0 elsewhere.

        Raises `UnreadableImageError` where the scan has none, and `UnknownNameError` for a structure that the set
        lacks.
        """
        raise UnreadableImageError(f"{row['sample_id']}: the set {self.name} has no label maps")

    def files(self, root: Path, row: Row) -> list[Path]:
        """Every file that a sample's image and label map are decoded from, sorted: if one changes, so does the sample.

        Here: the row's image (all slices, where it is a folder; the voxels that lie beside a MetaImage or NRRD header)
        and, of a labelled row, its `label_file` where the table has one. A loader that reads more lists it as well.
        """
        found: set[Path] = set()
        for name in (row["image"], row.get("label_file") if row["has_label"] else None):
            if not isinstance(name, str) or not name:
                continue
            path = Path(root) / name
            if path.is_dir():
                found.update(series_files(path))
                continue
            found.add(path)
            beside = (path.with_suffix(suffix) for suffix in DETACHED.get(path.suffix, ()))
            found.update(other for other in beside if other.is_file())
        return sorted(found)

    def label_map(self, root: Path) -> dict[str, int]:
        """Structure -> value, where the set's own files say it (Decathlon's index); empty where the layout fixes it."""
        return {}

    def survey(
        self, root: Path, *, set_name: str | None = None, exclude: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """List the usable images, and those that are left out with the reason.

        Parameters
        ----------
        root : folder of the set
        set_name : name of the set in the tables, which also begins its sample and patient names; the loader's own if
            None
        exclude : sample (the set's own name) -> reason why it is not used, e.g. a manifest's known bad cases
        options : the loader's own options

        Returns
        -------
        samples : sample_id, patient_id, set, image, label (Int8, NA where none), has_label, metadata; sorted by
            sample_id
        left_out : sample_id, path, reason

        Raises
        ------
        LayoutError
            If the folder is laid out otherwise, or two images have one name.
        """
        root = Path(root)
        set_name = set_name or self.name
        exclude = exclude or {}
        images = self.list_images(root, **options)
        if not images:
            raise LayoutError(f"the loader {self.name} finds no image in {root}: see the set's manifest for the layout")
        table = pd.DataFrame(images)
        reasons = table.pop("left_out") if "left_out" in table else pd.Series(None, index=table.index, dtype=object)
        reasons = reasons.where(reasons.notna(), table["sample_id"].map(exclude))
        names = table.loc[reasons.isna(), "sample_id"]
        repeated = names[names.duplicated()].unique()
        if len(repeated):
            shown = ", ".join(map(str, repeated[:5]))
            raise LayoutError(f"{len(repeated)} names occur twice in {root} ({shown}): a sample's name must be unique")
        for column in ("sample_id", "patient_id"):
            table[column] = set_name + "/" + table[column].astype(str)
        table.insert(2, "set", set_name)
        table["label"] = table["label"].astype("Int8")
        table["has_label"] = table["has_label"].astype(bool)
        usable = reasons.isna()
        metadata = [column for column in table if column not in SAMPLE_COLUMNS]
        samples = table.loc[usable, [*SAMPLE_COLUMNS, *metadata]].sort_values("sample_id", ignore_index=True)
        left_out = pd.DataFrame(
            {
                "sample_id": table.loc[~usable, "sample_id"],
                "path": table.loc[~usable, "image"],
                "reason": reasons[~usable].astype(str),
            },
            columns=PROBLEM_COLUMNS,
        )
        return samples, left_out.sort_values("sample_id", ignore_index=True)

    def index(self, root: Path, **options: Any) -> pd.DataFrame:
        """The samples table of `survey` alone."""
        return self.survey(root, **options)[0]


LOADERS: Registry[Loader] = Registry("data-set loader")


def relative(path: Path, root: Path) -> str:
    """Path below `root` with forward slashes, as the samples table stores it."""
    return path.relative_to(root).as_posix()


def find_folder(root: Path, markers: Sequence[str], depth: int = 3) -> Path:
    """The uppermost folder at or below `root` that holds one of the markers; `root` itself where none does.

    Archives unpack into a folder of their own, or two; a user need not move what lies in them.

    Parameters
    ----------
    root : the set's folder
    markers : files or folders, relative, of which one must be there
    depth : levels below `root` that are looked at
    """
    level = [Path(root)]
    for _ in range(depth + 1):
        for folder in level:
            if any((folder / marker).exists() for marker in markers):
                return folder
        below = (path for folder in level if folder.is_dir() for path in sorted(folder.iterdir()))
        level = [path for path in below if path.is_dir() and not path.name.startswith((".", "__"))]
    return Path(root)


def series_files(folder: Path) -> list[Path]:
    """Files of a DICOM series' folder by name, whatever their suffix: all but hidden ones and a DICOMDIR."""
    return sorted(path for path in folder.iterdir() if is_visible(path) and path.name != "DICOMDIR" and path.is_file())


def is_visible(path: Path) -> bool:
    """Whether a file is the publisher's: archives packed on a Mac hold a `._name` beside every file."""
    return not path.name.startswith(".")


def require_label(root: Path, row: Row) -> Path:
    """Path of a row's `label_file`; raises `UnreadableImageError` where it has none."""
    if not row["has_label"]:
        raise UnreadableImageError(f"{row['sample_id']}: this scan has no label map")
    return Path(root) / row["label_file"]


def check_structures(structures: Sequence[str], known: Sequence[str]) -> None:
    """Raise `UnknownNameError` for a structure that is not among the known ones, `ValueError` for a repeated one."""
    for name in structures:
        if name not in known:
            raise unknown_name("structure", name, list(known))
    if len(set(structures)) < len(structures):
        raise ValueError(f"a structure is asked for twice in {list(structures)}: name each one once")


def renumber(labels: np.ndarray, values: Mapping[str, int], structures: Sequence[str]) -> np.ndarray:
    """Turn a set's own label values into 1..K for the K asked structures, background elsewhere.

    Parameters
    ----------
    labels : integer array, the set's own values
    values : structure -> its value in `labels`; 0 is background
    structures : the asked ones, in the order of the new values

    Returns
    -------
    uint8 array of the same shape

    Raises
    ------
    UnreadableImageError
        If a value stands in the labels that is neither 0 nor in `values`.
    """
    check_structures(structures, list(values))
    highest = max(values.values())
    table = np.full(highest + 1, 255, dtype=np.uint8)
    table[0] = 0
    for value in values.values():
        table[value] = 0
    for position, name in enumerate(structures, start=1):
        table[values[name]] = position
    outside = (labels < 0) | (labels > highest)
    if not outside.any():
        renumbered = table[labels]
        outside = renumbered == 255
    if outside.any():
        found = sorted(int(value) for value in np.unique(labels[outside]))
        expected = ", ".join(f"{value} {name}" for name, value in values.items())
        raise UnreadableImageError(
            f"label values {found} in {int(outside.sum())} voxels are outside the label map (0 background, {expected})"
        )
    return renumbered
