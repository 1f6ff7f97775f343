"""Manifests: one YAML file per data set that says what it is, who may use it, how to get it and how it lies on disk.

In: `data_manifests/<set>.yaml`, or the path of one's own. Out: a checked `Manifest`, and the set's folder below a
data root. An error names the file, the line and the field. Sets of the paper's section 3.1 and stand-ins for them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ssrobust_lib.datasets.loader import LOADERS
from ssrobust_lib.registry import unknown_name

FOLDER = Path(__file__).resolve().parents[2] / "data_manifests"
NOT_STATED = "not stated"


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names file, line and field."""


class DataFolderError(FileNotFoundError):
    """A set's folder that is missing, empty or laid out otherwise; the message says what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Layout(_Strict):
    """How the set lies on disk: in words, as patterns of which all must match a file, and how that is known."""

    text: str = Field(min_length=1)
    files: tuple[str, ...] = Field(min_length=1)
    verified: str = Field(min_length=1)


class DownloadFile(_Strict):
    """One file of an open set: where it lies, how large it is, and how to unpack it."""

    address: str = Field(pattern=r"^https://")
    name: str = Field(min_length=1)
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    unpack: Literal["zip", "tar", "gzip", "none"] = "none"
    into: str = ""


class KnownBad(_Strict):
    """A case that is left out, by its own name, with the reason and who says so."""

    sample: str
    reason: str = Field(min_length=1)
    source: str = Field(min_length=1)


class Manifest(_Strict):
    """One data set. Every text field that nobody knows says 'not stated'."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    title: str = Field(min_length=1)
    kind: Literal["xray", "ct"]
    loader: str
    loader_options: dict[str, Any] = Field(default_factory=dict)
    # default folder name below the data root
    folder: str = Field(min_length=1)
    version: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    terms: str = Field(min_length=1)
    # key in the book's bibliography
    citation: str = Field(min_length=1)
    # how to get the set, step by step
    access: Literal["open", "account", "registration", "agreement"] = "open"
    get: str = Field(min_length=1)
    # open sets only
    files: tuple[DownloadFile, ...] = ()
    # who published the checksums above
    checksums_source: str = NOT_STATED
    layout: Layout
    # structure or class -> its value in the set's files
    labels: dict[str, int] = Field(default_factory=dict)
    # structures that are scored as one
    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    # as published: images, patients, labelled, positive
    counts: dict[str, int] = Field(default_factory=dict)
    # published split -> what it is, in words
    splits: dict[str, str] = Field(default_factory=dict)
    known_bad: tuple[KnownBad, ...] = ()
    notes: tuple[str, ...] = ()

    @field_validator("loader")
    @classmethod
    def _known_loader(cls, loader: str) -> str:
        if loader not in LOADERS:
            raise ValueError(str(unknown_name("data-set loader", loader, LOADERS.names())))
        return loader

    @field_validator("counts")
    @classmethod
    def _known_counts(cls, counts: dict[str, int]) -> dict[str, int]:
        for what, count in counts.items():
            if what not in COUNTS:
                raise ValueError(str(unknown_name("count", what, list(COUNTS))))
            if count < 0:
                raise ValueError(f"{what} must not be negative, got {count}")
        return counts

    @model_validator(mode="after")
    def _fits_together(self) -> "Manifest":
        if self.kind != LOADERS[self.loader].kind:
            raise ValueError(f"kind is {self.kind}, but the loader {self.loader} reads {LOADERS[self.loader].kind}")
        for merged, parts in self.merge.items():
            for part in parts:
                if part not in self.labels:
                    raise ValueError(f"merge: {merged}: {unknown_name('structure', part, list(self.labels))}")
        return self

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures of a CT set in the order in which label maps count them (1..K); empty where it has none."""
        return tuple(self.labels) if self.kind == "ct" else ()


COUNTS = ("images", "patients", "labelled", "positive")


def manifests() -> dict[str, Manifest]:
    """Every manifest of the project, by the set's name."""
    return {path.stem: load_manifest(path) for path in sorted(FOLDER.glob("*.yaml"))}


def load_manifest(name_or_path: str | Path) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    name_or_path : name of a set in `data_manifests`, or the path of a YAML file

    Raises
    ------
    UnknownNameError
        For a name that no manifest has.
    ManifestError
        For a file that is missing, not YAML, or breaks the schema.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
            raise unknown_name("data set", str(name_or_path), known)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}): give a set's name or a YAML file") from error
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
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        problems = [
            f"line {_line_of(tree, problem['loc'])}, field {'.'.join(map(str, problem['loc'])) or '(the whole)'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ManifestError(f"{path}: " + f"\n{path}: ".join(problems)) from error
    if path.parent == FOLDER and manifest.name != path.stem:
        line = _line_of(tree, ("name",))
        raise ManifestError(f"{path}: line {line}, field name: expected {path.stem!r}, the file's own name")
    return manifest


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


def locate(manifest: Manifest, data_root: str | Path) -> Path:
    """Find a set's folder below the data root and make sure that its layout is the expected one.

    Parameters
    ----------
    manifest : of the set
    data_root : the folder that holds the sets' folders

    Returns
    -------
    `data_root / manifest.folder`

    Raises
    ------
    DataFolderError
        If the folder is missing or empty, or a pattern of the layout matches no file there.
    """
    root = Path(data_root).expanduser() / manifest.folder
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


def _listing(folder: Path, n: int = 6) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return (", ".join(names[:n]) or "nothing") + (f" and {len(names) - n} more" if len(names) > n else "")


def count_report(manifest: Manifest, samples: Any) -> list[dict[str, Any]]:
    """Set the published counts beside those found; a difference is for the reader to see, not an error.

    Parameters
    ----------
    samples : samples table of the set

    Returns
    -------
    one mapping per published count: set, what, published, found
    """
    found = {
        "images": len(samples),
        "patients": int(samples["patient_id"].nunique()),
        "labelled": int(samples["has_label"].sum()),
        "positive": int((samples["label"] == 1).sum()),
    }
    return [
        {"set": manifest.name, "what": what, "published": published, "found": found[what]}
        for what, published in manifest.counts.items()
    ]
