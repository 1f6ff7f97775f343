"""VISCERAL Anatomy3: the CT set of the paper's segmentation task (section 3.1), silver and gold corpus.

In: volumes `<patient>_<study>_CTce_ThAb.nii.gz` or `..._CT_wb.nii.gz` and one binary mask per structure,
`<volume>_<RadLexID>_<annotator>.nii.gz`, anywhere below the root. Out: one sample per CT volume that has all twenty
structures, as the paper selects them; what is incomplete is left out by name, or kept unlabelled
(``incomplete="unlabelled"``) for the pretext pool.

Rules where the files leave a choice: several annotators of a structure vote, and a voxel needs more than half of them
(of two, the first by name decides alone); a voxel claimed by several structures goes to the one with the fewest
voxels in the scan, or a large organ's mask would swallow a small one; sources disagree on which psoas 32248 is, so
the right one is the mask whose mean column lies nearer to the patient's right.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, UnreadableImageError, Volume, check_structures, relative
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.registry import unknown_name

NUMBERS = {structure.name: structure.radlex_id for structure in VISCERAL_STRUCTURES}
PSOAS = ("right_psoas", "left_psoas")
INCOMPLETE = ("leave_out", "unlabelled")
_FILE = re.compile(
    r"(?P<volume>(?P<patient>\d+)_(?P<study>\d+)_CT(?P<contrast>ce)?_(?P<field>wb|ThAb))"
    r"(?:_(?P<radlex>\d+)_(?P<annotator>[^.]+))?\.nii(?:\.gz)?"
)


def _corpus(path: str) -> str:
    """Corpus by the names of the folders above a file, where they tell it."""
    folders = path.lower().rsplit("/", 1)[0]
    return next((corpus for corpus in ("silver", "gold") if corpus in folders), "not stated")


class VisceralLoader(Loader):
    """VISCERAL Anatomy3 CT, with or without contrast agent, whole body or trunk; MR files are passed over."""

    name = "visceral"
    kind = "ct"

    def list_images(self, root: Path, *, incomplete: str = "leave_out", **options: Any) -> list[dict[str, Any]]:
        if incomplete not in INCOMPLETE:
            raise unknown_name("way with incomplete scans", incomplete, list(INCOMPLETE))
        volumes: list[tuple[Path, re.Match[str]]] = []
        masks: dict[str, set[int]] = defaultdict(set)
        for path in sorted(root.rglob("*.nii*")):
            match = _FILE.fullmatch(path.name)
            if match and match["radlex"]:
                masks[match["volume"]].add(int(match["radlex"]))
            elif match:
                volumes.append((path, match))
        images = []
        for path, match in volumes:
            missing = [name for name, number in NUMBERS.items() if number not in masks[match["volume"]]]
            reason = f"{len(missing)} of 20 structures have no mask: {', '.join(missing)}"
            scan = relative(path, root)
            images.append(
                {
                    "sample_id": match["volume"],
                    "patient_id": match["patient"],
                    "image": scan,
                    "label": None,
                    "has_label": not missing,
                    "corpus": _corpus(scan),
                    "contrast": bool(match["contrast"]),
                    "field_of_view": match["field"],
                    "left_out": reason if missing and incomplete == "leave_out" else None,
                }
            )
        return images

    def files(self, root: Path, row: Row) -> list[Path]:
        scan = Path(root) / row["image"]
        masks = self._mask_files(Path(root), scan) if row["has_label"] else {}
        return [scan, *(path for number in sorted(masks) for path in masks[number])]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        check_structures(structures, list(NUMBERS))
        root = Path(root)
        scan = root / row["image"]
        files = self._mask_files(root, scan)
        wanted = list(structures)
        if set(wanted) & set(PSOAS):  # the sides can be told only from both
            wanted += [name for name in PSOAS if name not in wanted]
        missing = [name for name in wanted if NUMBERS[name] not in files]
        if missing:
            raise UnreadableImageError(f"{scan.name}: no mask of {', '.join(missing)}")
        # each structure as the flat positions of its voxels: a whole mask of each would take twenty volumes of memory
        voxels = {}
        for name in wanted:
            mask = vote([read_nifti_label(path, scan) > 0 for path in files[NUMBERS[name]]])
            shape, voxels[name] = mask.shape, np.flatnonzero(mask)
        if all(name in voxels for name in PSOAS):
            voxels |= sides_by_column(voxels["right_psoas"], voxels["left_psoas"], shape)
        labels = np.zeros(shape, dtype=np.uint8)
        for name in sorted(structures, key=lambda name: voxels[name].size, reverse=True):  # stable: ties keep the order
            labels.flat[voxels[name]] = structures.index(name) + 1
        return labels

    def _mask_files(self, root: Path, scan: Path) -> Mapping[int, list[Path]]:
        """RadLex number -> mask files of one volume, by annotator."""
        volume = scan.name.removesuffix(".gz").removesuffix(".nii")
        files: dict[int, list[Path]] = defaultdict(list)
        for path in sorted(root.rglob(f"{volume}_*.nii*"), key=lambda path: (path.name, path)):
            if (match := _FILE.fullmatch(path.name)) and match["radlex"]:
                files[int(match["radlex"])].append(path)
        return files


def vote(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Voxels that more than half of the annotators mark; of two annotators the first decides.

    masks : bool (S, R, C), one per annotator, at least one -> bool (S, R, C)
    """
    if len(masks) <= 2:
        return masks[0]
    counts = np.zeros(masks[0].shape, dtype=np.uint8)
    for mask in masks:
        counts += mask
    return 2 * counts > len(masks)


def sides_by_column(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Name two psoas masks (flat voxel positions) by where they lie: column 0 is the patient's right."""
    if not first.size or not second.size:
        raise UnreadableImageError("a psoas mask is empty: the sides cannot be told")
    right, left = sorted((first, second), key=lambda voxels: float((voxels % shape[-1]).mean()))
    return {"right_psoas": right, "left_psoas": left}


LOADERS.register("visceral")(VisceralLoader())
