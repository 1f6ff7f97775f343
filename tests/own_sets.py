"""X-rays of one's own as a user would lay them out, and a small profile that names them."""

from pathlib import Path
from typing import Any

import yaml
from layouts import write_pictures
from tiny_profile import profile_of_xrays, write_profile

PARTS = {"train": 12, "val": 4, "test": 6, "unlabelled": 4, "external": 6}


def own_folder(root: Path, parts: dict[str, int] = PARTS, **table: str) -> Path:
    """X-rays with a table and a manifest beside it: as a user would lay them out."""
    rows = ["file,finding,person,part"]
    for part, patients in parts.items():
        for k in range(patients):
            finding = "" if part == "unlabelled" else ("opacity" if k % 2 else "clear")
            rows.append(f"images/{part}{k}.png,{finding},{part}{k},{part}")
    root.mkdir(parents=True, exist_ok=True)
    write_pictures(root, [row.split(",")[0] for row in rows[1:]])
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    options = {"table": "list.csv", "positive": "opacity"}
    options["columns"] = {"path": "file", "label": "finding", "patient": "person", "split": "part"}
    manifest = {"loader": "classification_csv", "loader_options": options}
    (root / "ward.yaml").write_text(yaml.safe_dump(manifest))
    return root


def own_profile(folder: Path, **data: Any) -> Path:
    """A profile beside the folder of a set of its own."""
    sections = profile_of_xrays(name="own") | {"phantoms": {}}
    pneumonia = {"set": "xrays/ward.yaml", "split": "given", "label_fraction": 0.5, "image_size": 32, **data}
    away = {"set": "xrays/ward.yaml", "name": "elsewhere"}
    sections["data"] = {"pneumonia": {"external_sets": [away], **pneumonia}}
    return write_profile(folder, sections)
