"""One list of requirements: pyproject.toml. The others point to it or pin what it names."""

import re
import tomllib

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ssrobust_lib.config import PROJECT

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = DECLARED["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for line in [*DECLARED["dependencies"], *sum(EXTRAS.values(), [])]]
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?$")


def pins():
    """(name, version, marker or None) of every line of constraints.txt that is not a comment."""
    found = []
    for line in (PROJECT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = PIN.match(line)
            assert match, f"not an exact pin: {line!r}"
            found.append((canonicalize_name(match["name"]), Version(match["version"]), match["marker"]))
    return found


def test_conda_environment_installs_from_the_one_list():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert environment["name"] == "ssrobust"
    assert environment["channels"] == ["conda-forge"]
    *tools, from_pip = environment["dependencies"]
    python, *others = tools
    assert others == ["pip", "make"]
    assert from_pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert Requirement(f"python{DECLARED['requires-python']}").specifier.contains(python.removeprefix("python="))


def test_the_makefile_installs_from_the_one_list():
    assert '-c constraints.txt -e ".[dev]"' in (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_every_requirement_is_pinned_inside_its_range(requirement):
    versions = [version for name, version, _ in pins() if name == canonicalize_name(requirement.name)]
    assert versions, f"constraints.txt does not pin {requirement.name}"
    for version in versions:
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_no_pin_is_of_a_local_build():
    assert [(name, str(version)) for name, version, _ in pins() if version.local] == []


def test_torch_and_torchvision_are_exact_everywhere():
    for name in ("torch", "torchvision"):
        requirement = next(r for r in REQUIREMENTS if r.name == name)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert [str(v) for n, v, _ in pins() if n == name] == [specifier.version]


def test_a_package_is_pinned_once_on_any_machine():
    machines = [
        {"python_full_version": python, "python_version": python[:4], "sys_platform": system, "platform_machine": chip}
        for python in ("3.11.9", "3.12.4", "3.13.1")
        for system, chip in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64"))
    ]
    required = {canonicalize_name(requirement.name) for requirement in REQUIREMENTS}
    for machine in machines:
        held = [name for name, _, marker in pins() if marker is None or Marker(marker).evaluate(machine)]
        assert sorted(set(held)) == sorted(held)
        assert required <= set(held)
