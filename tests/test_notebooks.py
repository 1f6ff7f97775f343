"""Notebooks as committed: no outputs, short cells, a question before each result, parameters that fit the profiles."""

import ast
import json
import re

import pytest

from ssrobust_lib import study as study_module
from ssrobust_lib.config import PROFILES, load_profile
from ssrobust_lib.running.notebook_parameters import (
    NOTEBOOKS,
    OPTIONAL,
    SECTIONS,
    ParameterError,
    cell_parameters,
    check_parameters,
    declared_parameters,
    report_parameters,
    sync_notebooks,
)
from ssrobust_lib.running.runner import _computing_part
from ssrobust_lib.study import STEPS, Cell, Study

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
FURTHER = ["explore"]  # opened by readers, never run as a cell of the study
LINES = 15
NOT_IN_A_CELL = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try, ast.Lambda)


def defaults_of(name):
    """The profile whose values a notebook's parameters have: demo, or one that has what an optional notebook shows."""
    return OPTIONAL.get(name, "demo")


def read(name):
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code_cells(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_there_is_a_notebook_for_every_step_and_none_besides():
    assert sorted(SECTIONS) == NAMES
    assert {Cell(step, {}, {}).notebook for step in STEPS} == set(NAMES)
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted([*NAMES, *FURTHER])


@pytest.mark.parametrize("name", [*NAMES, *FURTHER])
class TestAnyNotebook:
    def test_is_valid_and_runs_under_python3(self, name):
        import nbformat

        content = read(name)
        nbformat.validate(content)
        assert content["metadata"]["kernelspec"]["name"] == "python3"
        assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])

    def test_carries_no_outputs(self, name):
        for cell in code_cells(read(name)):
            assert cell["outputs"] == []
            assert cell["execution_count"] is None

    def test_cells_are_short_and_define_nothing(self, name):
        for cell in code_cells(read(name)):
            assert source(cell).strip(), "an empty cell"
            lines = [line for line in source(cell).splitlines() if line.strip()]
            assert len(lines) <= LINES, f"{len(lines)} lines: {lines[0]}"
            assert max(map(len, lines)) <= 120
            defined = [node for node in ast.walk(ast.parse(source(cell))) if isinstance(node, NOT_IN_A_CELL)]
            assert not defined, ast.unparse(defined[0])

    def test_every_parameter_is_used(self, name):
        tagged = [cell for cell in code_cells(read(name)) if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1
        others = [ast.parse(source(cell)) for cell in code_cells(read(name)) if cell is not tagged[0]]
        used = {node.id for tree in others for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert set(declared_parameters(NOTEBOOKS / f"{name}.ipynb")) <= used

    def test_no_number_of_a_result_is_typed_into_the_prose(self, name):
        prose = "\n".join(source(cell) for cell in read(name)["cells"] if cell["cell_type"] == "markdown")
        without_rules = re.sub(r"p < 0\.001|p below 0\.05|above 0\.49|floor of 0\.49|probability of 0\.5", "", prose)
        without_places = re.sub(r"\b(section|sections|and|to) \d\.\d", "", without_rules)
        assert not re.findall(r"\b\d+\.\d+\b", without_places)


@pytest.mark.parametrize("name", NAMES)
class TestNotebook:
    def test_prose_asks_before_code_answers(self, name):
        cells = read(name)["cells"]
        assert cells[0]["cell_type"] == "markdown"
        title, *rest = source(cells[0]).strip().splitlines()
        assert title.startswith("# ")
        assert any(line.strip() for line in rest), "the first cell says what the notebook asks"
        prose = [source(cell) for cell in cells if cell["cell_type"] == "markdown"]
        assert "?" in "".join(prose)
        results = [k for k, cell in enumerate(cells) if re.search(r"\bfig\.\w+\(", source(cell))]
        assert results
        headings = [k for k, cell in enumerate(cells) if source(cell).startswith("## ")]
        assert headings
        assert headings[0] < results[0], "a result before its question"
        for here, following in zip(headings, [*headings[1:], len(cells)], strict=True):
            body = [line for line in source(cells[here]).splitlines()[1:] if line.strip()]
            assert body, f"a heading without a word below it: {source(cells[here])}"
            assert any(cell["cell_type"] == "code" for cell in cells[here:following])

    def test_parameters_are_those_of_its_default_profile(self, name):
        expected = report_parameters(load_profile(defaults_of(name)), name)
        declared = declared_parameters(NOTEBOOKS / f"{name}.ipynb")
        assert {key: default for key, (_, default) in declared.items()} == expected
        assert list(declared) == list(expected)
        assert {key: kind for key, (kind, _) in declared.items()} == {k: type(v) for k, v in expected.items()}

    def test_parameters_of_every_profile_fit(self, name):
        for path in PROFILES.glob("*.yaml"):
            check_parameters(NOTEBOOKS / f"{name}.ipynb", report_parameters(load_profile(path), name, str(path)))

    def test_wrong_parameters_are_refused_by_name(self, name):
        path = NOTEBOOKS / f"{name}.ipynb"
        right = report_parameters(load_profile(defaults_of(name)), name)
        with pytest.raises(ParameterError, match=rf"{name}\.ipynb: unknown parameter 'epoch' \(known: profile, "):
            check_parameters(path, right | {"epoch": 3})
        for missing in right:
            with pytest.raises(ParameterError, match=f"missing parameter '{missing}'"):
                check_parameters(path, {key: value for key, value in right.items() if key != missing})
        for key, value in right.items():
            with pytest.raises(ParameterError, match=f"{key}: expected {type(value).__name__}, got NoneType None"):
                check_parameters(path, right | {key: None})
        with pytest.raises(ParameterError, match="study_seed: expected int, got bool True"):
            check_parameters(path, right | {"study_seed": True})


class Asked(Study):
    """A study that only notes which cells a notebook wants computed."""

    asked: list = []  # emptied by each test

    def ensure(self, cells):
        type(self).asked += cells


def computing_code(name, folder):
    """Code of a notebook's computing part behind its parameters, as papermill would run it."""
    content = json.loads(_computing_part(NOTEBOOKS / f"{name}.ipynb", folder / "part.ipynb").read_text())
    tags = [cell["metadata"].get("tags", []) for cell in content["cells"]]
    assert sum("parameters" in tag for tag in tags) == 1
    assert not any("report" in tag for tag in tags)
    cells = [cell for cell in code_cells(content) if "parameters" not in cell["metadata"].get("tags", [])]
    return "\n".join(map(source, cells))


@pytest.mark.parametrize("name", NAMES)
def test_the_computing_part_alone_computes_each_cell_and_no_other(name, tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "Study", Asked)
    profile = load_profile(defaults_of(name))
    code = compile(computing_code(name, tmp_path), name, "exec")
    cells = [cell for cell in Study(profile).all_cells if cell.notebook == name]
    assert cells
    for cell in cells:
        values = cell_parameters(profile, cell, profile.name)
        check_parameters(NOTEBOOKS / f"{name}.ipynb", values)
        Asked.asked = []
        exec(code, dict(values))
        assert [asked.id for asked in Asked.asked] == [cell.id]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opened_as_it_is_asks_for_the_whole_run_of_its_default_profile(name, tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "Study", Asked)
    defaults = {key: default for key, (_, default) in declared_parameters(NOTEBOOKS / f"{name}.ipynb").items()}
    Asked.asked = []
    exec(computing_code(name, tmp_path), defaults)
    expected = [cell.id for cell in Study(load_profile(defaults_of(name))).all_cells if cell.notebook == name]
    assert sorted(asked.id for asked in Asked.asked) == sorted(expected)


def test_a_notebook_without_parameters_or_with_other_lines_in_them_is_refused(tmp_path):
    path = tmp_path / "own.ipynb"

    def write(*sources):
        cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [text]} for text in sources]
        path.write_text(json.dumps({"cells": cells}))

    for sources, message in (
        ([], "expected one cell tagged 'parameters', got 0"),
        (["a: int = 1", "b: int = 2"], "expected one cell tagged 'parameters', got 2"),
        (["a = 1"], r"expected `name: type = value`, got `a = 1`"),
        (["a: int"], r"expected `name: type = value`, got `a: int`"),
        (["a: Path = 1"], "a: type Path is none of str, int"),
    ):
        write(*sources)
        with pytest.raises(ParameterError, match=message):
            declared_parameters(path)


def test_a_whole_number_is_a_float_and_nothing_else_is_converted(tmp_path):
    path = tmp_path / "own.ipynb"
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["a: float = 1.5\nb: int = 2"]}
    path.write_text(json.dumps({"cells": [cell]}))
    check_parameters(path, {"a": 2, "b": 3})
    with pytest.raises(ParameterError, match="a: expected float, got str '2'; b: expected int, got float 3.0"):
        check_parameters(path, {"a": "2", "b": 3.0})


def test_syncing_leaves_nothing_to_sync(tmp_path, monkeypatch):
    from ssrobust_lib.running import notebook_parameters

    for name in NAMES:
        (tmp_path / f"{name}.ipynb").write_text((NOTEBOOKS / f"{name}.ipynb").read_text())
    changed = json.loads((tmp_path / f"{NAMES[0]}.ipynb").read_text())
    cell = next(cell for cell in code_cells(changed) if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] = ["study_seed: int = 0\n"]
    (tmp_path / f"{NAMES[0]}.ipynb").write_text(json.dumps(changed))
    monkeypatch.setattr(notebook_parameters, "NOTEBOOKS", tmp_path)
    assert sync_notebooks() == [NAMES[0]]
    assert sync_notebooks() == []
    assert (tmp_path / f"{NAMES[0]}.ipynb").read_text() == (NOTEBOOKS / f"{NAMES[0]}.ipynb").read_text()
