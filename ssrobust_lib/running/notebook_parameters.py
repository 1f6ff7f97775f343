"""Parameters of the notebooks: which sections of a profile each takes, and the check before anything runs.

Every notebook's first code cell (tag ``parameters``) declares names with type and default; the defaults are those of
the `demo` profile, or of one that has what an optional notebook shows. Papermill would only warn of an unknown name, so
names and types are compared here first.
"""

import ast
import json
import textwrap
from pathlib import Path
from typing import Any

from ssrobust_lib.config import PROJECT, Profile, load_profile
from ssrobust_lib.curve_cells import amount_names
from ssrobust_lib.study import Cell

NOTEBOOKS = PROJECT / "notebooks"
# sections of the profile that each notebook shows and takes as parameters, besides the choice of cells
SECTIONS = {
    "01_data": ("data", "phantoms", "leaks"),
    "02_pretext": ("networks", "pretext"),
    "03_finetune": ("networks", "finetune"),
    "04_clean_eval": ("evaluation", "statistics"),
    "05_corruption_eval": ("calibration", "evaluation", "statistics"),
    "06_kits_generalization": ("evaluation", "statistics"),
    "07_stats": ("statistics",),
    "08_controls": ("controls", "curves"),
}
CHOICES = {
    "01_data": ("tasks", "leak_seeds"),
    "02_pretext": ("tasks", "pretext_tasks", "seeds"),
    "03_finetune": ("tasks", "arms", "seeds"),
    "04_clean_eval": ("tasks",),
    "05_corruption_eval": ("tasks", "corruptions", "calibrate"),
    "06_kits_generalization": ("tasks", "sets"),
    "07_stats": (),
    "08_controls": ("steps", "tasks", "arms", "seeds", "amounts", "conditions"),
}
OPTIONAL = {"08_controls": "controls"}  # notebooks of runs that ask for them, and the profile of their defaults
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


class ParameterError(ValueError):
    """Parameters that do not fit the notebook that is to take them."""


def report_parameters(profile: Profile, notebook: str, location: str | None = None) -> dict[str, Any]:
    """All parameters of a notebook for reading a whole run (every task, arm, seed, set and corruption)."""
    # as the profile says it, and the defaults of sections that it leaves out
    sections = json.loads(profile.model_dump_json()) | json.loads(profile.model_dump_json(exclude_unset=True))
    everything = {
        "tasks": profile.tasks,
        "pretext_tasks": profile.pretext_tasks,
        "arms": list(profile.arms),
        "seeds": list(range(profile.seeds)),
        "leak_seeds": list(range(profile.leaks.seeds)),
        "corruptions": list(profile.corruptions),
        "sets": [choice.label for data in profile.data.values() for choice in data.external_sets],
        "calibrate": True,
        "steps": ["08_curve_pretext", "08_curve_finetune", "08_curves"],
        "amounts": amount_names(profile),
        "conditions": ["clean", *profile.corruptions],
    }
    values = {"profile": location or profile.name, "study_seed": profile.study_seed}
    values |= {name: everything[name] for name in CHOICES[notebook]}
    values |= {name: sections[name] for name in SECTIONS[notebook] if name not in values}
    return values | {"read_only": False}


def cell_parameters(profile: Profile, cell: Cell, location: str) -> dict[str, Any]:
    """Parameters of the notebook that computes one cell: those of the whole run, narrowed to that cell."""
    values = report_parameters(profile, cell.notebook, location)
    leak = cell.step == "01_leaks"
    narrowed = {
        "tasks": [] if leak else [cell.of["task"]] if "task" in cell.of else None,
        "leak_seeds": [cell.of["seed"]] if leak else [],
        "pretext_tasks": [cell.of["init"]] if "init" in cell.of else None,
        "arms": [cell.of["init"]] if "init" in cell.of else None,
        "seeds": [cell.of["seed"]] if "seed" in cell.of else None,
        "sets": [cell.of["set"]] if "set" in cell.of else None,
        "corruptions": [cell.of["corruption"]] if "corruption" in cell.of else [],
        "calibrate": cell.step == "05_calibration",
        "steps": [cell.step],
        "amounts": [cell.of["amount"]] if "amount" in cell.of else [],
        "conditions": [cell.of["corruption"]] if "corruption" in cell.of else [],
    }
    for name in CHOICES[cell.notebook]:
        if narrowed[name] is not None:
            values[name] = narrowed[name]
    return values


def declared_parameters(notebook: Path) -> dict[str, tuple[type, Any]]:
    """Read name, type and default of each parameter from the cell tagged ``parameters``.

    Raises
    ------
    ParameterError
        No such cell, or a line that is not ``name: type = literal``.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{notebook.name}: expected one cell tagged 'parameters', got {len(tagged)}")
    declared = {}
    for node in ast.parse("".join(tagged[0]["source"])).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise ParameterError(f"{notebook.name}: expected `name: type = value`, got `{ast.unparse(node)}`")
        kind = ast.unparse(node.annotation)
        if kind not in _TYPES:
            raise ParameterError(f"{notebook.name}: {node.target.id}: type {kind} is none of {', '.join(_TYPES)}")
        declared[node.target.id] = (_TYPES[kind], ast.literal_eval(node.value))
    return declared


def check_parameters(notebook: Path, values: dict[str, Any]) -> None:
    """Compare parameters with what the notebook declares, both ways.

    Raises
    ------
    ParameterError
        An unknown or missing name, or a value of the wrong type.
    """
    declared = declared_parameters(notebook)
    faults = [f"unknown parameter {name!r} (known: {', '.join(declared)})" for name in values if name not in declared]
    faults += [f"missing parameter {name!r}" for name in declared if name not in values]
    for name, (kind, _) in declared.items():
        if name in values and type(values[name]) is not kind and not (kind is float and type(values[name]) is int):
            faults.append(f"{name}: expected {kind.__name__}, got {type(values[name]).__name__} {values[name]!r}")
    if faults:
        raise ParameterError(f"{notebook.name}: " + "; ".join(faults))


def parameter_source(notebook: str) -> list[str]:
    """Lines of the parameters cell with the values of the profile of its defaults."""
    values = report_parameters(load_profile(OPTIONAL.get(notebook, "demo")), notebook)
    lines = [f"{name}: {type(value).__name__} = {value!r}".replace("'", '"') for name, value in values.items()]
    words: dict[str, Any] = {
        "width": 116,
        "subsequent_indent": "    ",
        "break_long_words": False,
        "break_on_hyphens": False,
    }
    return [part for line in lines for part in textwrap.wrap(line, **words)]


def sync_notebooks() -> list[str]:
    """Write the values of their default profiles into the parameter cells; return the notebooks that changed."""
    changed = []
    for name in SECTIONS:
        path = NOTEBOOKS / f"{name}.ipynb"
        content = json.loads(path.read_text(encoding="utf-8"))
        cell = next(cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", []))
        source = "\n".join(parameter_source(name)).splitlines(keepends=True)
        if "".join(cell["source"]) != "".join(source):
            cell["source"] = source
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            changed.append(name)
    return changed
