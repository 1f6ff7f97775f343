"""Attenuation of tissues in HU, for each contrast phase, with each patient's deviations.

Enter: the name of a phase and a patient's random stream. Leaves: HU by tissue name. The means are textbook values of
portal-venous, corticomedullary-to-nephrographic and pulmonary-arterial body CT; parenchyma, bowel and muscle lie close
together without contrast, as they do in patients.
"""

import numpy as np

from ssrobust_lib.registry import unknown_name

# tissue: (without contrast, portal venous, nephrographic, pulmonary arterial). HU at 120 kV.
MEAN_HU: dict[str, tuple[float, float, float, float]] = {
    "air": (-1000, -1000, -1000, -1000),
    "lung": (-850, -838, -838, -842),
    "fat": (-105, -103, -103, -105),
    "visceral_fat": (-100, -96, -96, -100),
    "skin": (5, 12, 12, 6),
    "muscle": (52, 62, 60, 54),
    "soft": (36, 58, 55, 42),
    "cartilage": (95, 100, 100, 96),
    "fluid": (10, 12, 12, 10),
    "heart": (44, 104, 118, 86),
    "blood": (42, 168, 225, 300),
    "aorta": (40, 195, 258, 230),
    "artery": (40, 185, 245, 220),
    "vein": (40, 150, 120, 330),
    "portal_vein": (40, 165, 118, 52),
    "liver": (57, 108, 82, 64),
    "spleen": (48, 121, 124, 82),
    "pancreas": (40, 94, 104, 60),
    "gallbladder": (12, 14, 13, 12),
    "bladder": (7, 10, 9, 7),
    "kidney_cortex": (34, 186, 205, 118),
    "kidney_medulla": (31, 168, 118, 44),
    "adrenal": (22, 74, 84, 40),
    "thyroid": (96, 164, 182, 150),
    "bowel_wall": (38, 84, 80, 48),
    "bowel_content": (22, 24, 24, 22),
    "uterus_prostate": (42, 86, 84, 50),
    "disc": (82, 88, 88, 84),
    "marrow": (165, 175, 175, 168),
    "cortical": (620, 630, 630, 622),
    "kidney_tumour": (36, 92, 112, 52),
    "necrosis": (20, 28, 30, 20),
    "liver_tumour": (42, 66, 62, 48),
    "nodule": (20, 45, 50, 30),
    "thrombus": (50, 52, 52, 50),
}
PHASES = {"none": 0, "portal": 1, "nephrographic": 2, "pulmonary": 3}
SPREAD_HU = {"lung": 28, "liver": 5, "marrow": 40, "cortical": 60, "thyroid": 14, "muscle": 5, "bowel_content": 8}


def attenuation(phase: str, generator: np.random.Generator) -> dict[str, float]:
    """Draw one patient's attenuation of every tissue.

    Parameters
    ----------
    phase : "none" | "portal" | "nephrographic" | "pulmonary".
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
