"""Where the images of a data set lie: phantoms under the run's folder, real images where the user keeps them."""

import hashlib
import os
from functools import cache
from pathlib import Path

from ssrobust_lib.config import PROJECT, Profile, ProfileError
from ssrobust_lib.fingerprint import settings_key

REAL_DATA = "SSROBUST_REAL_DATA"
TABLES = (".csv", ".tsv", ".json", ".txt")  # small files that say which image has which label


def image_folder(profile: Profile, data_set: str, *, runs: Path | None = None) -> Path:
    """Folder of a data set's files for a profile; for phantoms it may not exist yet.

    Raises
    ------
    ProfileError
        The set is not a phantom and neither the profile's `data_root` nor the environment names a data folder.
    ManifestError
        The data folder does not hold the set in its published layout.
    """
    from ssrobust_lib.datasets.manifest import is_own, load_manifest, locate

    manifest = load_manifest(data_set)
    if data_set in profile.phantoms:
        recipe = settings_key([profile.study_seed, profile.phantoms[data_set]])[:10]
        return (runs or PROJECT / "runs") / profile.name / "images" / f"{data_set}-{recipe}"
    root = profile.data_root or os.environ.get(REAL_DATA)
    if not root and not is_own(manifest):
        raise ProfileError(
            f"profile {profile.name!r} reads real images ({data_set}), but no folder is named: expected "
            f"{REAL_DATA} in the "
            f"environment or data_root in the profile. Set it to the folder that holds {manifest.folder}/ "
            f"(`export {REAL_DATA}=/path/to/images`)"
        )
    return locate(manifest, root or None)


def folder_identity(profile: Profile, data_set: str) -> str:
    """SHA-256 (hex) over names and sizes of all files of a real set, and the content of its tables.

    Other files or other labels make another result. YAML files count for nothing: what a manifest or a profile says
    is looked at elsewhere.
    """
    return _identity(image_folder(profile, data_set))


@cache
def _identity(folder: Path) -> str:
    digest = hashlib.sha256()
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path, ending = os.path.join(where, name), os.path.splitext(name)[1].lower()
            if ending in (".yaml", ".yml"):
                continue
            there = os.path.isfile(path)  # or a link to what was not fetched, as git-annex and DataLad leave them
            line = f"{os.path.relpath(path, folder)}\0{os.stat(path).st_size if there else None}\n"
            digest.update(line.encode(errors="surrogateescape"))
            if there and ending in TABLES:
                digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def write_phantoms(profile: Profile, data_set: str, folder: Path, *, workers: int = 1) -> Path:
    """Write a phantom set in its published layout into a folder, unless it is there already; return the folder.

    Raises
    ------
    ProfileError
        There are no phantoms of that set, or an option is unknown.
    """
    from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS

    if data_set not in PHANTOM_WRITERS:
        known = ", ".join(PHANTOM_WRITERS.names())
        raise ProfileError(f"phantoms.{data_set}: there are no phantoms of this set; expected one of {known}")
    try:
        PHANTOM_WRITERS[data_set](folder, seed=profile.study_seed, workers=workers, **profile.phantoms[data_set])
    except TypeError as error:
        raise ProfileError(f"phantoms.{data_set}: {error}") from error
    return folder
