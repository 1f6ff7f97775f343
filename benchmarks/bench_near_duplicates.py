"""Near-duplicates: how many copies of an exposure the check finds, how many images it takes for another patient's.

``python -m benchmarks near_duplicates`` uses the real radiographs below ``SSROBUST_REAL_DATA`` (Kermany, NIH), else
phantoms, which are easier to tell apart. `IMAGES` images of a set, drawn by a fixed seed, are decoded at full size and
reduced to 64 pixels. Each is compared with all images of other patients (false alarms); copies of `COPIED` of them,
made at full size, are looked for among the originals.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAME = "near_duplicates"
IMAGES, COPIED, SIDE = 600, 60, 64
MOST_FALSE_ALARMS = 0.002  # of the images
FEWEST_FOUND = 0.97  # of the copies that the module's docstring promises to find


def run() -> list[dict[str, Any]]:
    """Rows with name, measured, goal, met: false alarms, copies found, and time per compared image."""
    with tempfile.TemporaryDirectory() as place:
        return [row for name in _sets() for row in _rows(name, *_decoded(name, Path(place)))]


def _sets() -> list[str]:
    from ssrobust_lib.datasets.manifest import DataFolderError, load_manifest, locate

    root = os.environ.get("SSROBUST_REAL_DATA")
    found = []
    for name in ("kermany", "nih") if root else ():
        try:
            locate(load_manifest(name), root)
        except DataFolderError:
            continue
        found.append(name)
    return found or ["phantoms"]


def _decoded(name: str, place: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Images at full size, float32 (H, W) in [0, 1], and the number of each one's patient."""
    from ssrobust_lib.datasets import LOADERS, index_samples
    from ssrobust_lib.datasets.manifest import load_manifest, locate
    from ssrobust_lib.phantoms.xray_files import write_rsna_phantoms
    from ssrobust_lib.splits.rules import groups_of

    manifest = load_manifest("rsna" if name == "phantoms" else name)
    if name == "phantoms":
        root = write_rsna_phantoms(place / "rsna", n_patients=IMAGES, size=256, seed=0)
    else:
        root = locate(manifest, os.environ["SSROBUST_REAL_DATA"])
    samples, _ = index_samples(manifest, root)
    samples = samples.sample(min(IMAGES, len(samples)), random_state=0)
    images = [LOADERS[manifest.loader].read_image(root, row).pixels for _, row in samples.iterrows()]
    patients = groups_of(samples.assign(content_hash=[hash(image.tobytes()) for image in images]))
    return images, np.unique(patients, return_inverse=True)[1]


def _rows(name: str, images: list[np.ndarray], patients: np.ndarray) -> list[dict[str, Any]]:
    from ssrobust_lib.datasets.near_duplicates import find_near_duplicates

    pool = _small(images)
    begun = time.perf_counter()
    alarms = find_near_duplicates(pool, pool, patients, patients)["query"].nunique()
    spent = (time.perf_counter() - begun) / len(pool)
    rows = [
        {
            "name": f"{name}: {alarms} of {len(pool)} matched with another patient ({1e3 * spent:.0f} ms each)",
            "measured": f"{alarms / len(pool):.4f}",
            "goal": f"<= {MOST_FALSE_ALARMS}",
            "met": alarms / len(pool) <= MOST_FALSE_ALARMS,
        }
    ]
    originals = np.arange(min(COPIED, len(images)))
    for kind, copy in COPIES.items():
        queries = _small([copy(images[k]) for k in originals])
        pairs = find_near_duplicates(queries, pool, -1 - originals, np.arange(len(pool)))
        found = pairs.loc[pairs["query"] == pairs["pool"], "query"].nunique() / len(originals)
        rows.append(
            {
                "name": f"{name}: found of {len(originals)} copies, {kind}",
                "measured": f"{found:.3f}",
                "goal": f">= {FEWEST_FOUND}",
                "met": found >= FEWEST_FOUND,
            }
        )
    return rows


def _small(images: list[np.ndarray]) -> np.ndarray:
    from ssrobust_lib.preprocessing import XRaySettings, preprocess_xray

    return np.stack([preprocess_xray(np.ascontiguousarray(image), XRaySettings(SIDE)) for image in images])


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = (n // 2 * 2 for n in image.shape)
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def _as_jpeg(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(stream, "JPEG", quality=30)
    return np.asarray(Image.open(stream), np.float32) / 255


def _cropped(left: float, right: float, top: float, bottom: float) -> Callable[[np.ndarray], np.ndarray]:
    def crop(image: np.ndarray) -> np.ndarray:
        height, width = image.shape
        rows = slice(round(top * height), height - round(bottom * height))
        return image[rows, round(left * width) : width - round(right * width)]

    return crop


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half the size": _halved,
    "JPEG of quality 30": _as_jpeg,
    "mirrored": lambda image: image[:, ::-1],
    "3 % cropped on every side": _cropped(0.03, 0.03, 0.03, 0.03),
    "5 % cropped on every side": _cropped(0.05, 0.05, 0.05, 0.05),
    "cropped by 5, 1, 0 and 4 %": _cropped(0.05, 0.01, 0.0, 0.04),
}
