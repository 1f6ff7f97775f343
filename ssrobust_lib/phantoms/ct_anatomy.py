"""Thoraco-abdominal anatomy of one phantom patient: every part in painting order, with the labels of 20 structures.

Enters: a patient (ct_parts.draw_patient), a contrast phase and what is sick. Leaves: a list of parts that ct.render
paints on any grid. The structures are those of the VISCERAL Anatomy3 set of section 3.1 of the paper.
"""

from dataclasses import replace

from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.phantoms.ct_abdomen import (
    adrenal_parts,
    bladder_parts,
    bowel_parts,
    gallbladder_parts,
    kidney_parts,
    liver_parts,
    pancreas_parts,
    psoas_parts,
    spleen_parts,
    trunk_vessel_parts,
)
from ssrobust_lib.phantoms.ct_body import envelope_parts, lung_parts, rectus_parts
from ssrobust_lib.phantoms.ct_parts import Part, Patient, inside
from ssrobust_lib.phantoms.ct_skeleton import (
    jaw_parts,
    pelvis_parts,
    rib_parts,
    shoulder_parts,
    spine_parts,
    sternum_parts,
)
from ssrobust_lib.phantoms.ct_thorax import (
    airway_parts,
    embolus_parts,
    great_vessel_parts,
    heart_parts,
    lung_tree_parts,
    nodule_parts,
    thyroid_parts,
)
from ssrobust_lib.phantoms.ct_tissues import attenuation
from ssrobust_lib.registry import unknown_name

LABELS: dict[str, int] = {structure.name: value for value, structure in enumerate(VISCERAL_STRUCTURES, start=1)}
KIDNEY_TUMOUR, LIVER_TUMOUR, EMBOLUS = (len(LABELS) + k for k in (1, 2, 3))
LESIONS = ("kidney_tumour", "liver_tumour", "lung_nodule", "pulmonary_embolus")
# structures that other sets than VISCERAL label
FURTHER_LABELS: dict[str, int] = {
    name: EMBOLUS + k
    for k, name in enumerate(("esophagus", "stomach", "inferior_vena_cava", "portal_and_splenic_veins"), start=1)
}


def build_parts(patient: Patient, phase: str, lesions: tuple[str, ...] = (), *, further: bool = False) -> list[Part]:
    """List the parts of a patient in painting order.

    Parameters
    ----------
    patient : the person.
    phase : contrast phase, "none" | "portal" | "nephrographic" | "pulmonary".
    lesions : any of "kidney_tumour", "liver_tumour", "lung_nodule", "pulmonary_embolus".
    further : whether the structures of FURTHER_LABELS have their labels, too.

    Returns
    -------
    Parts whose labels are 1 to 20 (VISCERAL_STRUCTURES), 21 kidney tumour, 22 liver tumour, 23 embolus, and above
    FURTHER_LABELS.

    Raises
    ------
    UnknownNameError
        If a phase or a lesion is not known.
    """
    for lesion in lesions:
        if lesion not in LESIONS:
            raise unknown_name("lesion", lesion, list(LESIONS))
    hu = attenuation(phase, patient.rng("attenuation"))

    def pair(name: str) -> tuple[int, int]:
        return LABELS["right_" + name], LABELS["left_" + name]

    parts = envelope_parts(patient, hu)
    parts += lung_parts(patient, hu, pair("lung"))
    parts += heart_parts(patient, hu)
    parts += rectus_parts(patient, hu, pair("rectus_abdominis"))
    bones = shoulder_parts(patient, hu) + pelvis_parts(patient, hu)
    bones += spine_parts(patient, hu, LABELS["first_lumbar_vertebra"])
    bones += rib_parts(patient, hu) + sternum_parts(patient, hu, LABELS["sternum"])
    parts += [inside(part, "lean", 1.0) for part in bones]
    parts += lung_tree_parts(patient, hu)
    if "lung_nodule" in lesions:
        parts += nodule_parts(patient, hu)
    parts += bowel_parts(patient, hu)
    parts += trunk_vessel_parts(patient, hu)
    parts += psoas_parts(patient, hu, pair("psoas"))
    parts += spleen_parts(patient, hu, LABELS["spleen"])
    parts += liver_parts(patient, hu, LABELS["liver"], LIVER_TUMOUR if "liver_tumour" in lesions else None)
    parts += kidney_parts(patient, hu, pair("kidney"), KIDNEY_TUMOUR if "kidney_tumour" in lesions else None)
    parts += gallbladder_parts(patient, hu, LABELS["gallbladder"])
    parts += pancreas_parts(patient, hu, LABELS["pancreas"])
    parts += adrenal_parts(patient, hu, pair("adrenal"))
    parts += bladder_parts(patient, hu, LABELS["urinary_bladder"])
    parts += great_vessel_parts(patient, hu, LABELS["aorta"])
    if "pulmonary_embolus" in lesions:
        parts += embolus_parts(patient, hu, EMBOLUS)
    parts += airway_parts(patient, hu, LABELS["trachea"])
    parts += thyroid_parts(patient, hu, LABELS["thyroid"])
    parts += jaw_parts(patient, hu)
    if further:
        parts = [replace(part, label=FURTHER_LABELS.get(part.name, part.label)) for part in parts]
    return parts
