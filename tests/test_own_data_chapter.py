"""The book's chapter on own data: its files are written and its commands run exactly as printed, on phantoms."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ssrobust_lib.config import PROJECT, load_profile
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.sources import REAL_DATA
from ssrobust_lib.study import Study

CHAPTER = PROJECT / "book" / "own_data.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROFILES = ("my_study/xrays.yaml", "my_study/scans.yaml")
BOOK = "make book PROFILE="


def blocks() -> list[tuple[str, str]]:
    """Language and text of every block of code, in the order of the page."""
    return BLOCK.findall(CHAPTER.read_text(encoding="utf-8"))


def run(command: str, project: Path) -> str:
    """Run one printed command in a copy of the project; fail with what it printed."""
    # the environment exists already: a test must not install anything
    of_a_calling_make = ("MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")  # it would have its say about folders
    environment = {key: value for key, value in os.environ.items() if key not in (REAL_DATA, *of_a_calling_make)}
    environment |= {"MAKEFLAGS": "READY=", "PYTHONPATH": str(project)}
    done = subprocess.run(command, shell=True, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(project: Path) -> dict[str, str]:
    """Do what the page says, in its order, all but the books; return each command's output."""
    printed = {}
    for language, text in blocks():
        if language == "yaml":
            name = text.splitlines()[0].removeprefix("# ")
            (project / name).write_text(text, encoding="utf-8")
        elif language == "bash":
            commands = [line for line in text.splitlines() if not line.startswith(BOOK)]
            printed |= {command: run(command, project) for command in commands}
    return printed


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for a clone of the project: its files, so that results lie beside them, and this environment."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("CITATION.cff", "Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, folder)
    for name in ("ssrobust_lib", "workflow", "notebooks", "book", "profiles", "data_manifests"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def followed(project: Path) -> dict[str, str]:
    return follow(project)


def test_the_page_names_its_files_and_ends_each_example_in_a_book() -> None:
    files = [text.splitlines()[0] for language, text in blocks() if language == "yaml"]
    assert all(re.fullmatch(r"# my_study/\w+\.yaml", name) for name in files) and len(files) == 4
    commands = [line for language, text in blocks() if language == "bash" for line in text.splitlines()]
    assert [line for line in commands if line.startswith("make book")] == [BOOK + name for name in PROFILES]
    contents = yaml.safe_load((PROJECT / "book" / "_toc.yml").read_text())
    assert {"file": "own_data"} in [chapter for part in contents["parts"] for chapter in part["chapters"]]
    assert "book/own_data.md" in (PROJECT / "README.md").read_text()


def test_the_excerpt_of_the_table_is_its_beginning(project: Path, followed: dict[str, str]) -> None:
    (excerpt,) = [text for language, text in blocks() if language == "text" and text.startswith("file,")]
    assert (project / "my_study/xrays/films.csv").read_text().startswith(excerpt)


def test_both_examples_can_be_computed(project: Path, followed: dict[str, str]) -> None:
    for name in PROFILES:
        profile = load_profile(project / name)
        check_profile(profile)
        plan = followed[f"make plan PROFILE={name}"]
        assert plan.startswith(f"{profile.name}: {profile.title}") and "07_stats" in plan


def test_the_examples_train_on_what_the_page_says(project: Path, followed: dict[str, str], tmp_path: Path) -> None:
    found = {}
    for name in PROFILES:
        study = Study(load_profile(project / name), runs=tmp_path)
        cell = study.cells("01_data")[0]
        study.ensure(cell)
        assert study.table(cell, "left_out").empty
        samples = study.table(cell, "samples")
        found[name] = samples.groupby(["set", "split"]).size().to_dict()
    assert found["my_study/xrays.yaml"] == {
        ("hospital", "train"): 54,
        ("hospital", "val"): 12,
        ("hospital", "test"): 24,
        ("hospital", "pretext"): 12,
        ("other_hospital", "external"): 18,
    }
    assert found["my_study/scans.yaml"] == {
        ("scanner_a", "train"): 5,
        ("scanner_a", "val"): 1,
        ("scanner_a", "test"): 2,
        ("scanner_a", "pretext"): 2,
        ("scanner_b", "external"): 4,
    }


def test_the_manifests_of_the_page_are_the_users_own(project: Path, followed: dict[str, str]) -> None:
    for name in ("hospital", "abdomen"):
        manifest = load_manifest(project / "my_study" / f"{name}.yaml")
        assert manifest.access == "own" and manifest.title != name


@pytest.mark.slow
@pytest.mark.parametrize("name", PROFILES)
def test_the_printed_command_ends_in_a_finished_book(project: Path, followed: dict[str, str], name: str) -> None:
    printed = run(BOOK + name, project)
    found = re.search(r"^the report is ready: file://(.+)$", printed, re.MULTILINE)
    assert found is not None and Path(found[1]).is_file(), printed
