"""Attenuation of tissues in HU, for each contrast phase, with each patient's deviations.

Enter: the name of a phase and a patient's random stream. Leaves: HU by tissue name. The means are textbook values of
portal-venous and corticomedullary-to-nephrographic body CT; parenchyma, bowel and muscle lie close together without
contrast, as they do in patients.
"""

import numpy as np

from ssrobust_lib.registry import unknown_name

# tissue: (without contrast, portal venous, nephrographic). HU at 120 kV.
MEAN_HU: dict[str, tuple[float, float, float]] = {
    "air": (-1000, -1000, -1000),
    "lung": (-850, -838, -838),
    "fat": (-105, -103, -103),
    "visceral_fat": (-100, -96, -96),
    "skin": (5, 12, 12),
    "muscle": (52, 62, 60),
    "soft": (36, 58, 55),
    "cartilage": (95, 100, 100),
    "fluid": (10, 12, 12),
    "heart": (44, 104, 118),
    "blood": (42, 168, 225),
    "aorta": (40, 195, 258),
    "artery": (40, 185, 245),
    "vein": (40, 150, 120),
    "portal_vein": (40, 165, 118),
    "liver": (57, 108, 82),
    "spleen": (48, 121, 124),
    "pancreas": (40, 94, 104),
    "gallbladder": (12, 14, 13),
    "bladder": (7, 10, 9),
    "kidney_cortex": (34, 186, 205),
    "kidney_medulla": (31, 168, 118),
    "adrenal": (22, 74, 84),
    "thyroid": (96, 164, 182),
    "bowel_wall": (38, 84, 80),
    "bowel_content": (22, 24, 24),
    "uterus_prostate": (42, 86, 84),
    "disc": (82, 88, 88),
    "marrow": (165, 175, 175),
    "cortical": (620, 630, 630),
    "kidney_tumour": (36, 92, 112),
    "necrosis": (20, 28, 30),
    "liver_tumour": (42, 66, 62),
    "nodule": (20, 45, 50),
}
PHASES = {"none": 0, "portal": 1, "nephrographic": 2}
SPREAD_HU = {"lung": 28, "liver": 5, "marrow": 40, "cortical": 60, "thyroid": 14, "muscle": 5, "bowel_content": 8}


def attenuation(phase: str, generator: np.random.Generator) -> dict[str, float]:
    """Draw one patient's attenuation of every tissue.

    Parameters
    ----------
    phase : "none" | "portal" | "nephrographic".
    generator : draws the patient's deviations: bolus timing (all enhancement together), steatosis, bone density.

    Returns
    -------
    HU by tissue name.

    Raises
    ------
    UnknownNameError
        If the phase is not a known one.
    """
    if phase not in PHASES:
        raise unknown_name("contrast phase", phase, list(PHASES))
    column = PHASES[phase]
    bolus = float(np.clip(generator.normal(1.0, 0.16), 0.65, 1.35))
    steatosis = float(generator.uniform(0, 32)) if generator.random() < 0.25 else 0.0
    values = {}
    for tissue, means in MEAN_HU.items():
        own = float(np.clip(generator.normal(), -2, 2)) * SPREAD_HU.get(tissue, 3)
        values[tissue] = means[0] + bolus * (means[column] - means[0]) + own
    values["liver"] -= steatosis
    values["liver_tumour"] = min(values["liver_tumour"], values["liver"] - 18)
    values["air"] = -1000.0
    return values
