"""What the evaluating cells have in common: the networks as fine-tuned, the images of a set, what a structure is."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from ssrobust_lib import store
from ssrobust_lib.registry import unknown_name

TUMOUR = "tumour"
TUMOUR_COUNTS = ("both", "counted", "apart")

if TYPE_CHECKING:
    from torch import nn

    from ssrobust_lib.datasets.cache import Cache
    from ssrobust_lib.study import Cell, Study


def data_cell(study: "Study", task: str) -> "Cell":
    """The data cell of a task."""
    return study.cells("01_data", tasks=[task])[0]


def open_images(study: "Study", task: str) -> "Cache":
    """The prepared images of a task, memory-mapped; what the shared folder has lost meanwhile is decoded again."""
    from ssrobust_lib.datasets.cache import MissingImagesError, open_cache, restore_cache

    folder = study.folder_of(data_cell(study, task)) / "cache"
    try:
        return open_cache(folder)
    except MissingImagesError:
        with store.exclusive(folder):
            restore_cache(folder, workers=study.profile.threads)
        return open_cache(folder)


def constants(study: "Study", task: str) -> dict[str, Any]:
    """What the data cell measured: `normalise` (mean, std of training images), `structures` of the task's own set."""
    return store.read_json(study.folder_of(data_cell(study, task)) / "constants.json")


def positions(cache: "Cache", *, split: str | None = None, data_set: str | None = None) -> np.ndarray:
    """Rows of the cache, int64, that belong to a split or a set: labelled ones, and none that is kept out."""
    chosen = cache.rows["has_label"].astype(bool) & ~cache.rows["kept_out"].astype(bool)
    if split is not None:
        chosen &= cache.rows["split"] == split
    if data_set is not None:
        chosen &= cache.rows["set"] == data_set
    return np.flatnonzero(chosen.to_numpy())


def load_networks(study: "Study", task: str, arms: list[str] | None = None) -> "dict[tuple[str, int], nn.Module]":
    """Every fine-tuned network of a task, by (init, seed), in evaluation mode."""
    return {
        (c.of["init"], c.of["seed"]): load_network(study, c)
        for c in study.cells("03_finetune", tasks=[task], arms=arms or study.profile.arms)
    }


def load_network(study: "Study", cell: "Cell") -> "nn.Module":
    """One fine-tuned network as its cell left it."""
    from ssrobust_lib.networks import build_network
    from ssrobust_lib.seeds import torch_rng

    about = store.read_json(study.folder_of(cell) / "model.json")
    network = build_network(about["network"], about["n_outputs"], torch_rng(0), **about["options"])
    network.load_state_dict(study.tensors(cell, "model"))
    return network.eval()


def own_structures(study: "Study", task: str) -> dict[str, tuple[list[int], list[int]]]:
    """Each structure of the task's own set with its class and label value."""
    names = constants(study, task)["structures"]
    return {name: ([k], [k]) for k, name in enumerate(names, start=1)}


def external_structures(study: "Study", task: str, label: str) -> dict[str, tuple[list[int], list[int]]]:
    """What can be compared on another centre's set: the structures that both sets know, sides merged.

    Where the other set marks tumours (KiTS19), the profile's `evaluation.tumour` says whether they count as organ.
    """
    about, tumour = constants(study, task), study.profile.evaluation.tumour
    own = study.profile.data[task].label
    return shared_structures(about["structures"], about["merge"][own], about["label_maps"][label], tumour=tumour)


def shared_structures(
    own: Sequence[str], merge: Mapping[str, Sequence[str]], other: Sequence[str], *, tumour: str = "both"
) -> dict[str, tuple[list[int], list[int]]]:
    """What two sets' label maps have in common, as (classes of the networks, values in the other set's masks).

    Parameters
    ----------
    own, other : names of the label values 1..K of the networks' set and of the other one.
    merge : name -> structures of the own set that are scored as one, such as kidney -> right_kidney, left_kidney.
    tumour : where the other set marks tumours and the own one does not, 'counted' makes their voxels part of each
        structure, 'apart' leaves them background, 'both' counts them and adds `<name>_without_tumour`.

    Returns
    -------
    {name: (classes, values)}. A structure that is merged does not appear alone.

    Raises
    ------
    ValueError
        The sets share no structure.
    UnknownNameError
        For another way with tumours.

    Examples
    --------
    >>> shared_structures(["liver", "right_kidney", "left_kidney"], {"kidney": ["right_kidney", "left_kidney"]},
    ...                   ["kidney", "tumour"])
    {'kidney': ([2, 3], [1, 2]), 'kidney_without_tumour': ([2, 3], [1])}
    """
    if tumour not in TUMOUR_COUNTS:
        raise unknown_name("way with tumours", tumour, list(TUMOUR_COUNTS))
    own_value = {name: k for k, name in enumerate(own, start=1)}
    other_value = {name: k for k, name in enumerate(other, start=1)}
    merged = {part for parts in merge.values() for part in parts}
    found: dict[str, tuple[list[int], list[int]]] = {}
    for name, parts in merge.items():
        classes = [own_value[part] for part in parts]
        if name in other_value:
            found[name] = (classes, [other_value[name]])
        elif all(part in other_value for part in parts):
            found[name] = (classes, [other_value[part] for part in parts])
    found |= {n: ([own_value[n]], [other_value[n]]) for n in own if n in other_value and n not in merged}
    if TUMOUR in other_value and TUMOUR not in own_value and tumour != "apart":
        whole = {n: (classes, [*values, other_value[TUMOUR]]) for n, (classes, values) in found.items()}
        without = {f"{n}_without_{TUMOUR}": parts for n, parts in found.items()} if tumour == "both" else {}
        found = {k: v for pair in zip_longest(whole.items(), without.items()) for k, v in filter(None, pair)}
    if not found:
        raise ValueError(f"the sets share no structure: {', '.join(own)} and {', '.join(other)}")
    return found


def strengths_of(study: "Study", task: str, corruption: str) -> dict[int, float]:
    """Calibrated strength of severities 1 to 5."""
    table = study.table(study.cells("05_calibration", tasks=[task]), "severities")
    chosen = table[table["corruption"] == corruption]
    return {int(row.severity): float(row.strength) for row in chosen.itertuples()}
