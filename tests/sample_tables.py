"""Tables of samples as loaders give them, without any file."""

import numpy as np
import pandas as pd


def make_samples(n_patients: int = 60, seed: int = 0, most_images: int = 4) -> pd.DataFrame:
    """Patients with one to four images each; a third of the patients positive; all labelled."""
    generator = np.random.default_rng(seed)
    rows = [
        {"sample_id": f"s/{patient}-{image}", "patient_id": f"s/{patient}", "label": int(patient % 3 == 0)}
        for patient in range(n_patients)
        for image in range(generator.integers(1, most_images + 1))
    ]
    samples = pd.DataFrame(rows).assign(set="s", image="x", has_label=True)
    return samples.astype({"label": "Int8"})
