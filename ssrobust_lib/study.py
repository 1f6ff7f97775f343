"""The study as a graph of cells, and access to what they have computed.

A cell is one piece of work with a result: a data preparation per task, a pretext training and a fine-tuning per
(task, initialisation, seed), a calibration per task, an evaluation per (task, set, corruption), the statistics; where
the profile asks for it, what leaks do, per seed, and curves over numbers of images (`curve_cells`). Its folder carries
a key made of its settings, the code it uses and the cells it needs: a result is found again only where all three are
the same, and a changed parameter leaves older results untouched.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.config import PROJECT, Profile, load_profile
from ssrobust_lib.fingerprint import code_key, settings_key
from ssrobust_lib.profile_sections import set_name
from ssrobust_lib.registry import unknown_name

STEPS = {
    "01_data": "cells.data",
    "01_leaks": "cells.leak",
    "02_pretext": "cells.pretext",
    "03_finetune": "cells.finetune",
    "04_clean_eval": "cells.evaluate",
    "05_calibration": "cells.calibrate",
    "05_corruption_eval": "cells.evaluate",
    "06_kits_generalization": "cells.evaluate",
    "07_stats": "cells.compare",
    "08_curve_pretext": "cells.pretext",
    "08_curve_finetune": "cells.finetune",
    "08_curves": "cells.curves",
}


@dataclass(frozen=True)
class Cell:
    """One piece of the study. `of` says which (task, arm, seed, set, corruption), `settings` all that shapes it."""

    step: str
    of: dict[str, Any]
    settings: dict[str, Any]
    needs: tuple["Cell", ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        parts = [f"seed{value}" if key == "seed" else str(value) for key, value in self.of.items()]
        return "-".join(parts) or "all"

    @cached_property
    def key(self) -> str:
        needs = sorted(cell.key for cell in self.needs)
        return settings_key([self.step, self.of, self.settings, needs, code_key(STEPS[self.step])])

    @property
    def id(self) -> str:
        return f"{self.step}/{self.name}-{self.key[:10]}"

    @property
    def notebook(self) -> str:
        """The notebook that computes it."""
        if self.step.startswith("08_"):
            return "08_controls"
        return {"01_leaks": "01_data", "05_calibration": "05_corruption_eval"}.get(self.step, self.step)


class Study:
    """A profile's cells, their folders and their tables.

    Parameters
    ----------
    profile : Profile
        What to run.
    read_only : bool
        Refuse to compute: a missing result is an error (for rendering the book).
    runs : Path, optional
        The folder that holds all runs; ``runs/`` of the project where not given.
    """

    def __init__(self, profile: Profile, *, read_only: bool = False, runs: Path | None = None) -> None:
        self.profile = profile
        self.read_only = read_only
        self.folder = (runs or PROJECT / "runs") / profile.name

    # ---- the graph -------------------------------------------------------------------------------------------------

    @cached_property
    def all_cells(self) -> list[Cell]:
        """Every cell of the study, each after those it needs."""
        from ssrobust_lib.curve_cells import curve_cells

        profile = self.profile
        cells: list[Cell] = []
        data = {task: self._data_cell(task) for task in profile.tasks}
        cells += data.values()
        cells += [self._leak_cell(seed, data["pneumonia"]) for seed in range(profile.leaks.seeds)]
        networks: dict[str, list[Cell]] = {}
        for task in profile.tasks:
            pretext = {
                (a, s): self._pretext_cell(task, a, s, data[task]) for a in profile.pretext_tasks for s in self.seeds
            }
            tuned = [
                self._finetune_cell(task, a, s, data[task], pretext.get((profile.arm(a).as_long_as or a, s)))
                for a in profile.arms
                for s in self.seeds
            ]
            networks[task] = tuned
            cells += [*pretext.values(), *tuned]
        evaluations: list[Cell] = []
        for task in profile.tasks:
            base = (data[task], *networks[task])
            own = profile.data[task].label
            calibration = Cell("05_calibration", {"task": task}, self._calibration_settings(task), base)
            cells.append(calibration)
            clean = self._evaluation_cell("04_clean_eval", task, own, "clean", base)
            evaluations.append(clean)
            for corruption in profile.corruptions:
                needs = (*base, calibration, clean)  # features are compared with those of the clean images
                evaluations.append(self._evaluation_cell("05_corruption_eval", task, own, corruption, needs))
            for external in profile.data[task].external_sets:
                evaluations.append(self._evaluation_cell("06_kits_generalization", task, external.label, "clean", base))
        cells += evaluations
        settings = {
            "study_seed": profile.study_seed,
            "arms": list(profile.arms),
            "controls": list(profile.controls),
            "statistics": profile.statistics.model_dump(),
        }
        learned = [cell for cell in cells if cell.step in ("01_data", "02_pretext", "05_calibration")]
        cells.append(Cell("07_stats", {}, settings, (*learned, *evaluations)))
        return cells + (curve_cells(self, cells) if profile.curves else [])

    @property
    def seeds(self) -> list[int]:
        return list(range(self.profile.seeds))

    def _data_cell(self, task: str) -> Cell:
        profile, data = self.profile, self.profile.data[task]
        settings = {
            "study_seed": profile.study_seed,
            "data": _with_names(data.model_dump()),
            "manifests": self._manifests_of(task),
            "phantoms": {name: profile.phantoms[name] for name in profile.sets(task) if name in profile.phantoms},
            "files": self._files_of(task),
        }
        first = Cell("01_data", {"task": task}, settings)
        changed = self._changed_since(first, task)
        return Cell("01_data", {"task": task}, settings | {"changed_files": changed}) if changed else first

    def _files_of(self, task: str) -> list[tuple[str, str]]:
        """Identity of the folders of real images that a task reads, so that other files make another result."""
        from ssrobust_lib.sources import folder_identity

        real = [name for name in self.profile.sets(task) if name not in self.profile.phantoms]
        return [(set_name(name), folder_identity(self.profile, name)) for name in real]

    def _changed_since(self, data: Cell, task: str) -> list[tuple[str, str, str]]:
        """Real files whose content is no longer what a finished data cell decoded, though their names and sizes are."""
        from ssrobust_lib.datasets.changed_files import changed_files
        from ssrobust_lib.datasets.manifest import load_manifest
        from ssrobust_lib.sources import image_folder

        real = [name for name in self.profile.sets(task) if name not in self.profile.phantoms]
        if not real or not self.finished(data):
            return []
        roots = {load_manifest(name).name: image_folder(self.profile, name) for name in real}
        return changed_files(self.folder_of(data) / "cache", roots)

    def _manifests_of(self, task: str) -> list[dict[str, Any]]:
        """What a manifest says that shapes a result, for every set of a task: how it is read, and what is left out."""
        from ssrobust_lib.datasets.manifest import load_manifest

        fields = {"name", "loader", "loader_options", "labels", "merge", "known_bad"}
        return [load_manifest(name).model_dump(mode="json", include=fields) for name in self.profile.sets(task)]

    def _leak_cell(self, seed: int, data: Cell) -> Cell:
        profile = self.profile
        settings = {
            "study_seed": profile.study_seed,
            "network": profile.networks["pneumonia"].model_dump(),
            "pretext": {arm: profile.pretext["pneumonia"][arm].options for arm in profile.main_pretext_tasks},
            "leaks": profile.leaks.model_dump(exclude={"seeds"}),
            "evaluation": profile.evaluation.model_dump(include={"batch_size"}),
            "devices": profile.devices,
            "threads": profile.threads,
        }
        return Cell("01_leaks", {"task": "pneumonia", "seed": seed}, settings, (data,))

    def _pretext_cell(self, task: str, arm: str, seed: int, data: Cell) -> Cell:
        profile = self.profile
        settings = {
            "study_seed": profile.study_seed,
            "network": profile.networks[task].model_dump(),
            "pretext": profile.pretext_of(task, arm).model_dump(),
            "arm": profile.arm(arm).model_dump(include={"pretext", "pool"}),
            "devices": profile.devices,
            "threads": profile.threads,
        }
        return Cell("02_pretext", {"task": task, "init": arm, "seed": seed}, settings, (data,))

    def _finetune_cell(self, task: str, arm: str, seed: int, data: Cell, pretext: Cell | None) -> Cell:
        profile = self.profile
        settings = {
            "study_seed": profile.study_seed,
            "network": profile.networks[task].model_dump(),
            "finetune": profile.finetune[task].model_dump(),
            "arm": profile.arm(arm).model_dump(),
            "devices": profile.devices,
            "threads": profile.threads,
        }
        needs = (data, pretext) if pretext else (data,)
        return Cell("03_finetune", {"task": task, "init": arm, "seed": seed}, settings, needs)

    def _calibration_settings(self, task: str) -> dict[str, Any]:
        from ssrobust_lib.severities.files import given_strengths

        profile = self.profile
        given = given_strengths(profile, task)  # of a file what it says counts, and not where it lies
        severities = profile.calibration.severities_of(task) if given is None or not given.content else given.content
        return {
            "study_seed": profile.study_seed,
            "corruptions": list(profile.corruptions),
            "calibration": profile.calibration.model_dump() | {"severities": severities},
            "evaluation": profile.evaluation.model_dump(include={"batch_size"}),
            "threads": profile.threads,
        }

    def _evaluation_cell(self, step: str, task: str, data_set: str, corruption: str, needs: tuple[Cell, ...]) -> Cell:
        profile = self.profile
        of = {"task": task, "set": data_set} | ({"corruption": corruption} if corruption != "clean" else {})
        of_scans = {"tumour", "surface"}  # what these say shapes no result on X-rays
        settings = {
            "study_seed": profile.study_seed,
            "evaluation": profile.evaluation.model_dump(exclude=of_scans if task == "pneumonia" else None),
            "threads": profile.threads,
        }
        return Cell(step, of, settings, needs)

    # ---- choosing cells --------------------------------------------------------------------------------------------

    def cells(self, step: str, **chosen: Iterable[Any] | Any) -> list[Cell]:
        """Cells of one step whose coordinates are among the chosen ones (``tasks=["organs"], seeds=[0]``)."""
        if step not in STEPS:
            raise unknown_name("step", step, list(STEPS))
        wanted = {_SINGULAR[key]: list(values) for key, values in chosen.items()}
        found = [cell for cell in self.all_cells if cell.step == step]
        return [c for c in found if all(key not in c.of or c.of[key] in values for key, values in wanted.items())]

    def cell(self, cell_id: str) -> Cell:
        """The cell of an id as `ssrobust plan` prints it."""
        by_id = {cell.id: cell for cell in self.all_cells}
        if cell_id not in by_id:
            raise store.StoreError(
                f"the study has no cell {cell_id!r} (any longer): the profile, the code or the images have changed "
                "since the run began, or the name is wrong. Run the same command again; "
                f"`ssrobust plan {self.profile.name}` lists the cells"
            )
        return by_id[cell_id]

    def folder_of(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.id

    def finished(self, cell: Cell) -> bool:
        return store.finished(self.folder_of(cell))

    # ---- computing and reading -------------------------------------------------------------------------------------

    def ensure(self, cells: Cell | Iterable[Cell]) -> None:
        """Compute the cells that are not finished, after those that they need; finished ones are left alone.

        Raises
        ------
        StoreError
            The study is read-only and a cell is missing, or results cannot be written.
        """
        for cell in [cells] if isinstance(cells, Cell) else cells:
            if self.finished(cell):
                continue
            if self.read_only:
                raise store.StoreError(
                    f"{cell.id} is not computed yet and this reading computes nothing: "
                    f"run `make book PROFILE={self.profile.name}`, which goes on where it stopped"
                )
            self.ensure(cell.needs)
            record = {
                "cell": cell.id,
                "of": cell.of,
                "settings": cell.settings,
                "needs": [need.id for need in cell.needs],
            }
            with store.exclusive(self.folder_of(cell)):
                if self.finished(cell):  # by a process that this one waited for
                    continue
                with store.writing(self.folder_of(cell), record) as folder:
                    import_module(f"ssrobust_lib.{STEPS[cell.step]}").compute(self, cell, folder)

    def table(self, cells: Cell | Iterable[Cell], name: str) -> pd.DataFrame:
        """One table over several finished cells, rows in the order of the cells."""
        folders = [self.folder_of(cell) for cell in ([cells] if isinstance(cells, Cell) else cells)]
        parts = [store.read_table(folder / f"{name}.parquet") for folder in folders]
        parts = [part for part in parts if len(part)] or parts[:1]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def record(self, cell: Cell) -> dict[str, Any]:
        """Settings, versions, time and memory of a finished cell."""
        return store.read_json(self.folder_of(cell) / store.RECORD)

    def tensors(self, cell: Cell, name: str) -> dict[str, Any]:
        return store.read_tensors(self.folder_of(cell) / f"{name}.safetensors")


def _with_names(data: dict[str, Any]) -> dict[str, Any]:
    """A task's data section with sets by name: where a user keeps a manifest file makes no other result."""
    named = data | {"set": set_name(data["set"])}
    for section in ("pretext_sets", "external_sets"):
        named[section] = [choice | {"set": set_name(choice["set"])} for choice in data[section]]
    return named


_SINGULAR = {
    "tasks": "task",
    "arms": "init",
    "pretext_tasks": "init",
    "seeds": "seed",
    "sets": "set",
    "corruptions": "corruption",
    "conditions": "corruption",
    "amounts": "amount",
}


def open_study(profile: str, *, read_only: bool = False, **sections: Any) -> Study:
    """Open a study as a notebook does: a profile, with the sections that the notebook was given as parameters."""
    return Study(load_profile(profile, **sections), read_only=read_only)
