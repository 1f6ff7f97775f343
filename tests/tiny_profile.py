"""A study small enough for a test: both tasks and every step, on a few small phantoms."""

from pathlib import Path
from typing import Any

import yaml

CORRUPTIONS = ("gaussian_noise", "contrast")
MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02, "external dice": 0.05, "missed": 0.05}


def tiny_profile(**changed: Any) -> dict[str, Any]:
    """Sections of a profile; `changed` ones take the place of those below."""
    jigsaw = {"options": {"permutations": 5, "hidden": 32}, "training": {"epochs": 1, "batch_size": 16}}
    sections: dict[str, Any] = {
        "name": "tiny",
        "title": "phantoms for a test",
        "study_seed": 7,
        "seeds": 1,
        "arms": ["scratch", "jigsaw", "scratch_aa"],
        "corruptions": list(CORRUPTIONS),
        "phantoms": {
            "rsna": {"n_patients": 48, "size": 32},
            "visceral": {"n_scans": 5, "pixel_mm": 12.0, "slice_mm": 24.0, "matrix": 40},
            "kits19": {"n_scans": 2, "pixel_mm": 14.0, "slice_mm": 40.0, "matrix": 32},
            "luna16": {"n_scans": 1, "pixel_mm": 14.0, "slice_mm": 40.0, "matrix": 32},
        },
        "data": {
            "pneumonia": {"set": "rsna", "validation": 10, "test": 14, "label_fraction": 0.3, "image_size": 32},
            "organs": {
                "set": "visceral",
                "validation": 1,
                "test": 2,
                "label_fraction": 0.5,
                "pretext_sets": [{"set": "luna16"}],
                "external_sets": [{"set": "kits19"}],
                "image_size": 32,
                "pixel_mm": 14.0,
                "slice_mm": 80.0,
                "window_hu": [-500, 500],
            },
        },
        "networks": {"pneumonia": {"name": "cbr_small"}, "organs": {"name": "unet", "options": {"base_filters": 4}}},
        "pretext": {"pneumonia": {"jigsaw": jigsaw}, "organs": {"jigsaw": jigsaw}},
        "finetune": {
            "pneumonia": {"epochs": 2, "batch_size": 6, "steps_per_epoch": 2},
            "organs": {"epochs": 2, "batch_size": 4, "steps_per_epoch": 2},
        },
        "calibration": {"images": {"organs": 6}, "closeness": {"score": 0.1, "strength": 0.3}},
        "statistics": {"bootstrap": 20, "margins": MARGINS},
    }
    return sections | changed


def profile_of_xrays(**changed: Any) -> dict[str, Any]:
    """The tiny profile with its X-ray task alone."""
    sections = tiny_profile(**changed)
    for name in ("data", "networks", "pretext", "finetune"):
        sections[name] = {"pneumonia": sections[name]["pneumonia"]}
    return sections | {"phantoms": {"rsna": sections["phantoms"]["rsna"]}}


def write_profile(folder: Path, sections: dict[str, Any]) -> Path:
    """Write a profile as a user would, under its own name."""
    path = folder / f"{sections['name']}.yaml"
    path.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    return path
