"""Manifests: one YAML file per data set that says what it is, who may use it, how to get it and how it lies on disk.

In: `data_manifests/<set>.yaml`, or the path of one's own. Out: a checked `Manifest`, and the set's folder below a
data root. An error names the file, the line and the field. Sets of the paper's section 3.1 and stand-ins for them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ssrobust_lib.datasets.manifest_schema import COUNTS, NOT_STATED, DownloadFile, KnownBad, Layout, Manifest
from ssrobust_lib.registry import UnknownNameError, unknown_name

FOLDER = Path(__file__).resolve().parents[2] / "data_manifests"

__all__ = [
    "COUNTS",
    "FOLDER",
    "NOT_STATED",
    "DataFolderError",
    "DownloadFile",
    "KnownBad",
    "Layout",
    "Manifest",
    "ManifestError",
    "count_report",
    "found_counts",
    "is_own",
    "load_manifest",
    "locate",
    "manifests",
    "set_folder",
]


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names file, line and field."""


class DataFolderError(FileNotFoundError):
    """A set's folder that is missing, empty or laid out otherwise; the message says what to do."""


def manifests() -> dict[str, Manifest]:
    """Every manifest of the project, by the set's name."""
    return {path.stem: load_manifest(path) for path in sorted(FOLDER.glob("*.yaml"))}


def load_manifest(name_or_path: str | Path) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    name_or_path : name of a set in `data_manifests`, or the path of a YAML file of one's own, which is called like
        the set

    Raises
    ------
    UnknownNameError
        For a name that no manifest has.
    ManifestError
        For a file that is missing, not YAML, or breaks the schema.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
            hint = " A manifest of your own is given by its path, which ends in .yaml."
            raise UnknownNameError(str(unknown_name("data set", str(name_or_path), known)) + hint)
    tree, content = _read_fields(path)
    content.setdefault("name", path.stem)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(_problem(path, tree, dict(problem)) for problem in error.errors())
        raise ManifestError(problems) from error
    if manifest.name != path.stem:
        line = _line_of(tree, ("name",))
        raise ManifestError(
            f"{path}: line {line}, field name: expected {path.stem!r}, the file's own name, got {manifest.name!r}"
        )
    return manifest.read_from(path.resolve())


def _problem(path: Path, tree: yaml.Node, problem: dict[str, Any]) -> str:
    """One fault in words: file, line, field, what was expected and what came."""
    raised = problem.get("ctx", {}).get("error")
    location = (*problem["loc"], *getattr(raised, "location", ()))
    got = ""
    if raised is None and problem["type"] not in ("missing", "extra_forbidden"):
        got = f", got {problem['input']!r}"
    field = ".".join(map(str, location)) or "(the whole)"
    what = problem["msg"].removeprefix("Value error, ")
    if location == ("name",) and problem["type"] == "string_pattern_mismatch":
        what = "expected lower-case letters, digits and _ (a set is called like its manifest: rename the file)"
    if problem["type"] == "extra_forbidden":
        what = str(unknown_name("field", location[-1], _fields_beside(location)))
    return f"{path}: line {_line_of(tree, location)}, field {field}: {what}{got}"


def _fields_beside(location: Sequence[str | int]) -> list[str]:
    """Fields that the schema knows in the block that holds the unknown one."""
    blocks: dict[str, type[BaseModel]] = {"layout": Layout, "files": DownloadFile, "known_bad": KnownBad}
    block = blocks.get(str(location[0]), Manifest) if len(location) > 1 else Manifest
    return list(block.model_fields)


def _read_fields(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    """The file's YAML nodes, which know their lines, and its content."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}): give a set's name or a YAML file") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}: line {line}: not UTF-8 text: save it as UTF-8") from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"{path}: {where}not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(tree, yaml.MappingNode):
        raise ManifestError(f"{path}: line 1: expected fields (name: value), found {type(content).__name__}")
    _refuse_repeated_fields(path, tree)
    return tree, content


def _refuse_repeated_fields(path: Path, node: yaml.Node) -> None:
    """YAML silently lets the last of two equal keys win; a manifest must not say two things."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise ManifestError(f"{path}: line {key.start_mark.line + 1}, field {key.value}: stands there twice")
            seen.add(key.value)
            _refuse_repeated_fields(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_fields(path, item)


def _line_of(node: yaml.Node, location: Sequence[str | int]) -> int:
    """Line (from 1) of a field; of the block that should hold it, where it is missing."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def locate(manifest: Manifest, data_root: str | Path | None) -> Path:
    """Find a set's folder and make sure that its layout is the expected one.

    The folder of a manifest of one's own is looked for beside that file first, then below the data root.

    Parameters
    ----------
    manifest : of the set
    data_root : the folder that holds the sets' folders; None where there is none

    Returns
    -------
    the set's folder, absolute where the data root is

    Raises
    ------
    DataFolderError
        If the folder is missing or empty, or a pattern of the layout matches no file there.
    """
    root = set_folder(manifest, data_root)
    how = f"How to get {manifest.title}: {manifest.get}"
    expected = f"Expected: {', '.join(manifest.layout.files)}"
    if not root.is_dir():
        beside = _listing(root.parent) if root.parent.is_dir() else f"{root.parent} does not exist either"
        raise DataFolderError(f"{manifest.name}: there is no folder {root} ({beside}). {expected}. {how}")
    if not any(root.iterdir()):
        raise DataFolderError(f"{manifest.name}: the folder {root} is empty. {expected}. {how}")
    absent = [pattern for pattern in manifest.layout.files if next(root.glob(pattern), None) is None]
    if absent:
        raise DataFolderError(
            f"{manifest.name}: {root} is laid out otherwise: nothing matches {', '.join(absent)}. {expected}. "
            f"Found there: {_listing(root)}. {how}"
        )
    return root


def is_own(manifest: Manifest) -> bool:
    """Whether a manifest was read from a file of the user's own rather than from `data_manifests`."""
    return manifest.file is not None and manifest.file.parent != FOLDER


def set_folder(manifest: Manifest, data_root: str | Path | None) -> Path:
    """Where a set's folder is, or would have to be; looks at no file in it.

    Raises
    ------
    DataFolderError
        If no data root is given and the manifest is not one of the user's own that knows its folder.
    """
    folder, file = Path(manifest.folder).expanduser(), manifest.file
    if folder.is_absolute():
        return folder
    if file is not None and is_own(manifest) and ((file.parent / folder).is_dir() or data_root is None):
        return (file.parent / folder).resolve()
    if data_root is None:
        raise DataFolderError(
            f"{manifest.name}: no folder is named in which to look for {manifest.folder}/ ({manifest.title})"
        )
    return Path(data_root).expanduser() / folder


def _listing(folder: Path, n: int = 6) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return (", ".join(names[:n]) or "nothing") + (f" and {len(names) - n} more" if len(names) > n else "")


def found_counts(samples: Any) -> dict[str, int]:
    """Images, patients, labelled and positive ones of a samples table."""
    return {
        "images": len(samples),
        "patients": int(samples["patient_id"].nunique()),
        "labelled": int(samples["has_label"].sum()),
        "positive": int((samples["label"] == 1).sum()),
    }


def count_report(manifest: Manifest, samples: Any) -> list[dict[str, Any]]:
    """Set the published counts beside those found; a difference is for the reader to see, not an error.

    Parameters
    ----------
    samples : samples table of the set

    Returns
    -------
    one mapping per published count: set, what, published, found
    """
    found = found_counts(samples)
    return [
        {"set": manifest.name, "what": what, "published": published, "found": found[what]}
        for what, published in manifest.counts.items()
    ]
