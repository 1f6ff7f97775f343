"""LUNA16: chest CT without organ labels, one of the seven sets of the paper's pretext pool (section 3.1).

In: `subset0` to `subset9` with `<seriesuid>.mhd` and `.raw`. Out: one unlabelled sample per series. The release names
series, not patients, so each series counts as a patient; that is harmless where the set serves pretext training
alone.
"""

from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import read_metaimage
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, relative


class Luna16Loader(Loader):
    """LUNA16's ten subsets; its lung masks and nodule annotations are not read."""

    name = "luna16"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        return [
            {
                "sample_id": path.stem,
                "patient_id": path.stem,
                "image": relative(path, root),
                "label": None,
                "has_label": False,
                "subset": path.relative_to(root).parts[0],
            }
            for path in sorted(root.glob("subset*/**/*.mhd"))
        ]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_metaimage(Path(root) / row["image"])


LOADERS.register("luna16")(Luna16Loader())
