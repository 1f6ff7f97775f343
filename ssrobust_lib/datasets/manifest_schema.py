"""The schema of a manifest: which fields a data set's description has, and what they may say (paper, section 3.1).

In: the content of one YAML file. Out: a checked, frozen `Manifest`. A published set states every field, with
'not stated' where nobody says; a set of one's own (``access: own``, the default) needs little more than its loader.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from ssrobust_lib.datasets.loader import LOADERS, OptionError
from ssrobust_lib.registry import unknown_name

NOT_STATED = "not stated"
COUNTS = ("images", "patients", "labelled", "positive")
NAME = r"^[a-z0-9][a-z0-9_]*$"

Text = Annotated[str, Field(min_length=1)]


class FieldError(OptionError):
    """A field that contradicts another one; `location` is its path, e.g. ("files", 0, "md5")."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Layout(_Strict):
    """How the set lies on disk: in words, as patterns of which all must match a file, and how that is known.

    `verified` begins with 'no' where nobody has read the real files ('no: from published descriptions only').
    """

    text: Text
    files: tuple[Text, ...] = Field(min_length=1)
    verified: Text

    @field_validator("verified", mode="before")
    @classmethod
    def _no_is_a_word(cls, verified: Any) -> Any:
        return "no" if verified is False else verified  # YAML 1.1 reads a bare `no` as false

    @property
    def is_verified(self) -> bool:
        """Whether the layout was checked against real files."""
        return re.match(r"no\b", self.verified) is None


class DownloadFile(_Strict):
    """One file of an open set, where it can be had without signing in.

    Attributes
    ----------
    address : https address
    name : name under which the file is kept
    bytes : its size, None where nobody states it
    md5, sha256 : hexadecimal, lower case; None where the publisher gives none
    unpack : what kind of archive it is
    into : folder below the set's own into which it is unpacked or put; '' for the set's folder itself
    """

    address: str = Field(pattern=r"^https://[^\s/]+/\S*$")
    name: str = Field(pattern=r"^[^/\\\s][^/\\]*$")
    bytes: Annotated[int, Field(ge=0, strict=True)] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    unpack: Literal["zip", "tar", "gzip", "none"] = "none"
    into: str = ""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if name in (".", ".."):
            raise ValueError(f"expected a file name, got {name!r}")
        return name

    @field_validator("into")
    @classmethod
    def _stays_inside(cls, into: str) -> str:
        path = PurePosixPath(into)
        if path.is_absolute() or ".." in path.parts or "\\" in into or ":" in into:
            raise ValueError(f"expected a folder below the set's own, like images or '', got {into!r}")
        return into


class KnownBad(_Strict):
    """A case that is left out, by its own name, with the reason and who says so."""

    sample: Text
    reason: Text
    source: Text


class Manifest(_Strict):
    """One data set. Every text field that nobody knows says 'not stated'."""

    name: str = Field(pattern=NAME)
    title: Text = NOT_STATED
    kind: Literal["xray", "ct"]
    loader: str
    loader_options: dict[str, Any] = Field(default_factory=dict)
    # default folder name below the data root; for a manifest of one's own also relative to that file's folder
    folder: Text = "."
    version: Text = NOT_STATED
    licence: Text = NOT_STATED
    terms: Text = NOT_STATED
    # key in the book's bibliography
    citation: Text = NOT_STATED
    # how one comes by the files; `get` says it in words
    access: Literal["open", "account", "registration", "agreement", "own"] = "own"
    get: Text = "the files are your own"
    # open sets only: what to download, from where
    files: tuple[DownloadFile, ...] = ()
    # who published the checksums above
    checksums_source: Text = NOT_STATED
    layout: Layout = None  # type: ignore[assignment]  # filled in from the loader by _defaults
    # structure or class -> its value in the set's files
    labels: dict[str, int] = Field(default_factory=dict)
    # structures that are scored as one
    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    # as published: images, patients, labelled, positive
    counts: dict[str, Annotated[int, Field(strict=True)]] = Field(default_factory=dict)
    # published split -> what it is, in words
    splits: dict[str, Text] = Field(default_factory=dict)
    known_bad: tuple[KnownBad, ...] = ()
    notes: tuple[Text, ...] = ()

    _file: Path | None = PrivateAttr(default=None)

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
                raise FieldError((what,), unknown_name("count", what, list(COUNTS)))
            if count < 0:
                raise FieldError((what,), f"{what} must not be negative, got {count}")
        return counts

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, content: Any) -> Any:
        """Fill in what a set of one's own may leave out: its title, and what its loader knows (kind, layout)."""
        if not isinstance(content, dict):
            return content
        filled = dict(content)
        if filled.get("access", "own") != "own":
            return filled
        if isinstance(name := filled.get("name"), str):
            filled.setdefault("title", name)
        loader = filled.get("loader")
        if not isinstance(loader, str) or loader not in LOADERS:
            return filled
        filled.setdefault("kind", LOADERS[loader].kind)
        if "layout" not in filled:
            options = filled.get("loader_options")
            patterns = LOADERS[loader].needed_files(**(options if isinstance(options, dict) else {}))
            words = f"as the loader {loader} reads it"
            filled["layout"] = {"text": words, "files": patterns, "verified": "by its owner"}
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> "Manifest":
        loader = LOADERS[self.loader]
        if self.kind != loader.kind:
            raise FieldError(("kind",), f"kind is {self.kind}, but the loader {self.loader} reads {loader.kind}")
        self._check_options()
        self._check_published()
        for merged, parts in self.merge.items():
            for part in parts:
                if part not in self.labels:
                    problem = unknown_name("structure", part, list(self.labels))
                    raise FieldError(("merge", merged), f"merge: {merged}: {problem}")
        return self

    def _check_options(self) -> None:
        loader = LOADERS[self.loader]
        known = loader.option_names()
        for option in self.loader_options:
            if option not in known:
                expected = unknown_name("option", option, known) if known else f"{self.loader} has no options"
                raise FieldError(("loader_options", option), expected)
        try:
            loader.check_options(**self.loader_options)
        except OptionError as error:
            raise FieldError(("loader_options", *error.location), error) from error

    def _check_published(self) -> None:
        if self.access != "own":
            for field in ("title", "version", "licence", "terms", "citation", "get", "layout"):
                if field not in self.model_fields_set:
                    raise FieldError((field,), f"a published set says it: write {NOT_STATED!r} where nobody states it")
        if self.files and self.access != "open":
            raise FieldError(("files",), f"addresses are for open sets; access is {self.access}: remove them, or it")
        names = [file.name for file in self.files]
        for position, file in enumerate(self.files):
            if file.name in names[:position]:
                raise FieldError(("files", position, "name"), f"a file called {file.name!r} is listed above")
            if (file.md5 or file.sha256) and self.checksums_source == NOT_STATED:
                raise FieldError(("checksums_source",), "files have checksums: say who published them")

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures of a CT set in the order in which label maps count them (1..K); empty where it has none."""
        return tuple(self.labels) if self.kind == "ct" else ()

    @property
    def file(self) -> Path | None:
        """The YAML file that it was read from, None if it was made otherwise."""
        return self._file

    def read_from(self, file: Path) -> "Manifest":
        """Note the file that the manifest came from; returns the manifest itself."""
        self._file = file
        return self
