"""The twenty structures of VISCERAL Anatomy3, in the order in which label maps count them (paper, section 3.1).

Nothing enters; `VISCERAL_STRUCTURES` leaves: label value = position + 1. A structure's mask carries the RadLex number
of its term in its file name. Sources disagree about which psoas is 32248 and which is 32249: the loader decides from
geometry.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """One anatomical structure: its name in tables, and the number of its RadLex term."""

    name: str
    radlex_id: int


VISCERAL_STRUCTURES: tuple[Structure, ...] = (
    Structure("liver", 58),
    Structure("spleen", 86),
    Structure("pancreas", 170),
    Structure("gallbladder", 187),
    Structure("urinary_bladder", 237),
    Structure("aorta", 480),
    Structure("trachea", 1247),
    Structure("right_lung", 1302),
    Structure("left_lung", 1326),
    Structure("sternum", 2473),
    Structure("thyroid", 7578),
    Structure("first_lumbar_vertebra", 29193),
    Structure("right_kidney", 29662),
    Structure("left_kidney", 29663),
    Structure("right_adrenal", 30324),
    Structure("left_adrenal", 30325),
    Structure("right_psoas", 32248),
    Structure("left_psoas", 32249),
    Structure("right_rectus_abdominis", 40357),
    Structure("left_rectus_abdominis", 40358),
)
