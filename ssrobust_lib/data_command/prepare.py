"""`ssrobust data prepare`: decode and preprocess a whole set once, before a run needs it.

In: a manifest, the data root, and a profile whose preprocessing is used. Out: the folder of the decoded
images, which every run with the same preprocessing finds again, and what is missing or cannot be decoded.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ssrobust_lib.data_command import DataCommandError

if TYPE_CHECKING:
    import pandas as pd

    from ssrobust_lib.config import Profile
    from ssrobust_lib.datasets.manifest import Manifest
    from ssrobust_lib.preprocessing import CTSettings, XRaySettings

Value = TypeVar("Value")

TASKS = {"xray": "pneumonia", "ct": "organs"}


class PrepareError(DataCommandError):
    """Preprocessing that is not stated or does not fit the set; the message says what to give."""


def settings_for(
    kind: str,
    profile: "Profile",
    *,
    size: int | None = None,
    pixel_mm: float | None = None,
    slice_mm: float | None = None,
    window_hu: tuple[float, float] | None = None,
) -> "XRaySettings | CTSettings":
    """Preprocessing of a profile's task for a kind of images, with single values replaced.

    Parameters
    ----------
    kind : xray or ct
    profile : its task pneumonia (xray) or organs (ct) is followed
    size, pixel_mm, slice_mm, window_hu : win over the profile; the last three are for CT

    Raises
    ------
    PrepareError
        If the profile has no such task and the values given are not enough, a value is for the other kind of images,
        or out of range.
    """
    from ssrobust_lib.preprocessing import CTSettings, XRaySettings

    data = profile.data.get(TASKS[kind])
    size = _first(size, data.image_size if data else None)
    try:
        if kind == "xray":
            if (pixel_mm, slice_mm, window_hu) != (None, None, None):
                raise PrepareError("--pixel-mm, --slice-mm and --window are for CT; X-rays take --size alone")
            if size is None:
                raise _lacking(profile, kind, "--size")
            return XRaySettings(size=size)
        pixel_mm = _first(pixel_mm, data.pixel_mm if data else None)
        slice_mm = _first(slice_mm, data.slice_mm if data else None)
        window_hu = _first(window_hu, data.window_hu if data else None)
        if size is None or pixel_mm is None or window_hu is None:
            raise _lacking(profile, kind, "--size, --pixel-mm and --window")
        return CTSettings(size=size, pixel_mm=pixel_mm, slice_mm=slice_mm, window_hu=window_hu)
    except ValueError as error:
        raise PrepareError(str(error)) from error


def _first(given: Value | None, otherwise: Value | None) -> Value | None:
    """What the command line gives, 0 included (which is refused, not passed over), or else the profile's."""
    return otherwise if given is None else given


def _lacking(profile: "Profile", kind: str, options: str) -> PrepareError:
    return PrepareError(
        f"the profile {profile.name!r} has no task {TASKS[kind]}, whose preprocessing {kind} images take: name another "
        f"with --profile, or give {options}"
    )


def in_words(settings: "XRaySettings | CTSettings") -> str:
    """A preprocessing with its units, for the terminal.

    >>> from ssrobust_lib.preprocessing import CTSettings
    >>> in_words(CTSettings(size=256, pixel_mm=1.5, slice_mm=3.0, window_hu=(-500.0, 500.0)))
    '256 x 256 pixels of 1.5 mm, slices every 3 mm, -500 to 500 HU'
    """
    values = vars(settings)
    words = f"{settings.size} x {settings.size} pixels"
    if "pixel_mm" in values:
        apart = "as scanned" if values["slice_mm"] is None else f"every {values['slice_mm']:g} mm"
        low, high = values["window_hu"]
        words += f" of {values['pixel_mm']:g} mm, slices {apart}, {low:g} to {high:g} HU"
    return words


def prepare(
    manifest: "Manifest", data_root: Path | None, settings: "XRaySettings | CTSettings", *, workers: int = 1
) -> "tuple[Path, pd.DataFrame]":
    """Decode what is not yet decoded of a set.

    Returns
    -------
    folder : where the decoded images are
    problems : sample_id, path, reason of what is listed but not there, then of what cannot be decoded

    Raises
    ------
    DataFolderError, LayoutError
        If the set is not there or laid out otherwise.
    CacheError
        If the preprocessing is not for the set's kind of images, or the cache cannot be written.
    """
    import pandas as pd

    from ssrobust_lib.datasets import index_samples
    from ssrobust_lib.datasets.cache import prepare_set, problems_of
    from ssrobust_lib.datasets.left_out import sort_left_out
    from ssrobust_lib.datasets.manifest import locate

    bar, root = sys.stderr.isatty(), locate(manifest, data_root)
    _, _, lacking = sort_left_out(manifest, root, index_samples(manifest, root)[1])
    folder = prepare_set(manifest, root, settings, workers=workers, progress=bar)
    problems = problems_of(folder)
    return folder, pd.concat([pd.DataFrame(lacking, columns=problems.columns), problems], ignore_index=True)
