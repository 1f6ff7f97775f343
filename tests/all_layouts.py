"""A tiny set in every layout that has a loader."""

from collections.abc import Callable
from pathlib import Path

from ct_layouts import CT_WRITERS, write_kits19, write_lits, write_luna16, write_visceral
from layouts import KERMANY, write_decathlon, write_nih, write_own_csv, write_pictures, write_rsna

WRITERS: dict[str, Callable[[Path], Path]] = {
    "rsna": write_rsna,
    "kermany": lambda root: write_pictures(root, KERMANY),
    "nih": write_nih,
    "visceral": write_visceral,
    "kits19": write_kits19,
    "luna16": write_luna16,
    "lits": write_lits,
    "decathlon": write_decathlon,
    "classification_csv": write_own_csv,
    **CT_WRITERS,
}
