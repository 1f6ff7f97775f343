"""VISCERAL Anatomy3: the CT set of the paper's segmentation task (section 3.1), silver and gold corpus.

In: volumes `<patient>_<study>_CTce_ThAb.nii.gz` or `..._CT_wb.nii.gz` and one binary mask per structure,
`<volume>_<RadLexID>_<annotator>.nii.gz`, anywhere below the root. Out: one sample per CT volume that has all twenty
structures, as the paper selects them; what is incomplete is left out by name, or kept unlabelled
(``incomplete="unlabelled"``) for the pretext pool.

The names of the folders above a file tell its corpus. The paper trains on the silver corpus, which algorithms labelled,
and tests on the gold one, which radiologists labelled: that is the column `published_split`. A silver scan of a
patient of the gold corpus is left out, or the patient would stand on both sides.

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
from ssrobust_lib.datasets.loader import (
    LOADERS,
    Loader,
    Row,
    UnreadableImageError,
    Volume,
    check_structures,
    is_visible,
    relative,
)
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.registry import unknown_name

NUMBERS = {structure.name: structure.radlex_id for structure in VISCERAL_STRUCTURES}
PSOAS = ("right_psoas", "left_psoas")
INCOMPLETE = ("leave_out", "unlabelled")
# corpus -> what the name of a folder above its files holds
CORPORA = {"silver": ("silver",), "gold": ("gold", "trainingset")}
SPLITS = {"silver": "train", "gold": "test"}  # the paper's
_FILE = re.compile(
    r"(?P<volume>(?P<patient>\d+)_(?P<study>\d+)_CT(?P<contrast>ce)?_(?P<field>wb|ThAb))"
    r"(?:_(?P<radlex>\d+)_(?P<annotator>[^.]+))?\.nii(?:\.gz)?"
)


def corpus_of(path: str, corpora: Mapping[str, Sequence[str]]) -> str:
    """Corpus of a file by the names of the folders above it, 'not stated' where they do not tell.

    >>> corpus_of("Silver_Corpus/volumes/10000100_1_CT_wb.nii.gz", CORPORA)
    'silver'
    """
    folders = path.lower().rpartition("/")[0]
    return next(
        (corpus for corpus, words in corpora.items() if any(word.lower() in folders for word in words)), "not stated"
    )


class VisceralLoader(Loader):
    """VISCERAL Anatomy3 CT, with or without contrast agent, whole body or trunk; MR files are passed over.

    Options: `incomplete`, what becomes of scans without all twenty structures; `corpora`, corpus -> words in the names
    of its folders.
    """

    name = "visceral"
    kind = "ct"
    leaves_out_by_rule = True

    def list_images(
        self,
        root: Path,
        *,
        incomplete: str = "leave_out",
        corpora: Mapping[str, Sequence[str]] = CORPORA,
        **options: Any,
    ) -> list[dict[str, Any]]:
        if incomplete not in INCOMPLETE:
            raise unknown_name("way with incomplete scans", incomplete, list(INCOMPLETE))
        volumes: list[tuple[str, re.Match[str]]] = []
        masks: dict[tuple[str, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for path in sorted(root.rglob("*_CT*.nii*")):
            match = _FILE.fullmatch(path.name)
            if not match or not is_visible(path):
                continue
            file = relative(path, root)
            if match["radlex"]:
                folder = relative(path.parent, root)
                masks[corpus_of(file, corpora), match["volume"]][int(match["radlex"])].add(folder)
            else:
                volumes.append((file, match))
        gold = {match["patient"] for file, match in volumes if corpus_of(file, corpora) == "gold"}
        images: list[dict[str, Any]] = []
        for file, match in volumes:
            corpus = corpus_of(file, corpora)
            found = masks[corpus, match["volume"]]
            missing = [name for name, number in NUMBERS.items() if number not in found]
            reason = None
            if missing and incomplete == "leave_out":
                reason = f"{len(missing)} of 20 structures have no mask: {', '.join(missing)}"
            if corpus == "silver" and match["patient"] in gold:
                reason = "the patient is in the gold corpus, too: its scans there are used"
            images.append(
                {
                    "sample_id": match["volume"],
                    "patient_id": match["patient"],
                    "image": file,
                    "label": None,
                    "has_label": not missing,
                    "corpus": corpus,
                    "contrast": bool(match["contrast"]),
                    "field_of_view": match["field"],
                    "mask_folders": "|".join(sorted(set().union(*found.values()))),
                    "left_out": reason,
                }
            )
        if any(image["corpus"] in SPLITS for image in images):
            for image in images:
                image["published_split"] = SPLITS.get(image["corpus"], "not stated")
        return images

    def files(self, root: Path, row: Row) -> list[Path]:
        scan = Path(root) / row["image"]
        masks = self._mask_files(Path(root), row) if row["has_label"] else {}
        return [scan, *(path for number in sorted(masks) for path in masks[number])]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        check_structures(structures, list(NUMBERS))
        scan, files = Path(root) / row["image"], self._mask_files(Path(root), row)
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

    def _mask_files(self, root: Path, row: Row) -> Mapping[int, list[Path]]:
        """RadLex number -> mask files of one scan, by annotator."""
        volume = Path(row["image"]).name.removesuffix(".gz").removesuffix(".nii")
        folders = [root / name for name in row["mask_folders"].split("|") if name]
        paths = [path for folder in folders for path in folder.glob(f"{volume}_*.nii*") if is_visible(path)]
        files: dict[int, list[Path]] = defaultdict(list)
        for path in sorted(paths, key=lambda path: (path.name, path)):
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
