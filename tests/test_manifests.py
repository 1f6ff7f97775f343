"""Every manifest is checked against the schema; a broken one is refused by file, line and field."""

from pathlib import Path

import pytest
import yaml

from ssrobust_lib.datasets.loader import LOADERS
from ssrobust_lib.datasets.manifest import (
    FOLDER,
    DataFolderError,
    Manifest,
    ManifestError,
    count_report,
    load_manifest,
    locate,
    manifests,
)
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.registry import UnknownNameError

GOOD = """\
name: mine
title: My images
kind: xray
loader: kermany
folder: mine
version: "1"
licence: not stated
terms: not stated
citation: not_stated
get: ask me
layout:
  text: one folder per class
  files: ["train/*/*.jpeg"]
  verified: by hand
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_manifest_of_the_project_is_valid(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    assert manifest.kind == LOADERS[manifest.loader].kind
    assert bool(manifest.structures) == bool(manifest.kind == "ct" and manifest.labels)


def test_the_visceral_manifest_names_the_twenty_structures_in_their_order() -> None:
    labels = load_manifest("visceral").labels
    assert list(labels.items()) == [(structure.name, structure.radlex_id) for structure in VISCERAL_STRUCTURES]


def test_every_registered_loader_is_used_by_a_manifest() -> None:
    """Loaders of one's own images have no published set: the book's chapter on own data shows their manifests."""
    used = {manifest.loader for manifest in manifests().values()}
    assert used | {name for name in LOADERS if LOADERS[name].reads_own_images} == set(LOADERS)


def test_an_own_manifest_is_read_by_its_path(tmp_path: Path) -> None:
    assert load_manifest(write(tmp_path, GOOD)).title == "My images"


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("kind: xray", "kind: mri", 3, "kind"),
        ("loader: kermany", "loader: kermani", 4, "loader"),
        ("terms: not stated", "term: not stated", 8, "term"),
        ('  files: ["train/*/*.jpeg"]', "  files: 3", 13, "layout.files"),
        ("  verified: by hand\n", "", 11, "layout.verified"),
        ("title: My images", "title: ''", 2, "title"),
        ("get: ask me", "get: ask me\ncounts: {scans: 3}", 11, "counts"),
        ("folder: mine", "folder: mine\nfolder: yours", 6, "folder"),
    ],
)
def test_a_broken_manifest_is_refused_by_file_line_and_field(
    tmp_path: Path, old: str, new: str, line: int, field: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert f"{path}: line {line}, field {field}" in str(caught.value)


OPEN = """\
access: open
checksums_source: the publisher
files:
  - {address: https://example.org/a.zip, name: a.zip, bytes: 12, md5: 0123456789abcdef0123456789abcdef, unpack: zip}
  - {address: https://example.org/b.csv, name: b.csv, into: tables}
splits: {train: "all but test", test: the last ten}
"""


def test_an_open_set_says_where_its_files_are(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, GOOD + OPEN))
    assert [file.name for file in manifest.files] == ["a.zip", "b.csv"]
    assert (manifest.files[0].bytes, manifest.files[0].unpack, manifest.files[1].into) == (12, "zip", "tables")
    assert manifest.files[1].sha256 is None and manifest.splits == {"train": "all but test", "test": "the last ten"}


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        ("access: open", "access: free", 15, "access", "'open', 'account'"),
        ("access: open", "access: account", 17, "files", "addresses are for open sets"),
        ("checksums_source: the publisher\n", "", 1, "checksums_source", "say who published them"),
        ("https://example.org/a", "http://example.org/a", 18, "files.0.address", "pattern"),
        ("name: a.zip", "name: ../a.zip", 18, "files.0.name", "pattern"),
        ("name: b.csv", "name: a.zip", 19, "files.1.name", "listed above"),
        ("into: tables", "into: ../tables", 19, "files.1.into", "below the set's own"),
        ("into: tables", "into: /tables", 19, "files.1.into", "below the set's own"),
        ("md5: 0123456789abcdef0123456789abcdef", "md5: 0123", 18, "files.0.md5", "string"),
        ("bytes: 12", "bytes: -1", 18, "files.0.bytes", "greater than or equal to 0, got -1"),
        ("unpack: zip", "unpack: rar", 18, "files.0.unpack", "'zip', 'tar', 'gzip' or 'none', got 'rar'"),
        ("into: tables", "into: tables, sha: x", 19, "files.1.sha", "Did you mean 'sha256'"),
        ("test: the last ten", "test: 10", 20, "splits.test", "string"),
        ('version: "1"\n', "", 1, "version", "write 'not stated'"),
        ("terms: not stated\n", "", 1, "terms", "write 'not stated'"),
    ],
)
def test_faults_of_an_open_set_are_named(tmp_path: Path, old, new, line, field, message) -> None:
    text = GOOD + OPEN
    assert old in text
    path = write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert f"{path}: line {line}, field {field}: " in str(caught.value) and message in str(caught.value)


def test_every_published_set_says_how_it_is_accessed_and_quotes_what_it_knows() -> None:
    for name, manifest in manifests().items():
        assert manifest.access != "own", f"{name}: access is open, account, registration or agreement"
        assert not manifest.files or manifest.access == "open"


@pytest.mark.parametrize(
    ("verified", "read"), [("no", False), ('"no: from descriptions"', False), ("nodule files", True)]
)
def test_verified_may_be_a_bare_no(tmp_path: Path, verified: str, read: bool) -> None:
    manifest = load_manifest(write(tmp_path, GOOD.replace("by hand", verified)))
    assert manifest.layout.is_verified is read and isinstance(manifest.layout.verified, str)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(GOOD.replace("My images", "Röntgen").encode("latin-1"))
    with pytest.raises(ManifestError, match="line 2: not UTF-8"):
        load_manifest(path)


def test_a_misspelt_loader_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="Did you mean 'kermany'"):
        load_manifest(write(tmp_path, GOOD.replace("loader: kermany", "loader: kermani")))


def test_a_kind_that_the_loader_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="kind is ct, but the loader kermany reads xray"):
        load_manifest(write(tmp_path, GOOD.replace("kind: xray", "kind: ct")))


def test_a_merge_of_unknown_structures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="unknown structure 'kidneys'"):
        load_manifest(write(tmp_path, GOOD + "labels: {kidney: 1}\nmerge: {all: [kidneys]}\n"))


@pytest.mark.parametrize(
    ("text", "why"), [("name: [", "line 1: not valid YAML"), ("- a", "found list"), ("", "NoneType")]
)
def test_what_is_not_a_manifest_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        load_manifest(write(tmp_path, text))


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path / "none.yaml")
    with pytest.raises(UnknownNameError, match="Did you mean 'kermany'"):
        load_manifest("kermony")


@pytest.fixture
def own(tmp_path: Path) -> Manifest:
    return load_manifest(write(tmp_path, GOOD))


def test_locate_finds_the_folder(tmp_path: Path, own: Manifest) -> None:
    image = tmp_path / "mine" / "train" / "NORMAL" / "IM-0001-0001.jpeg"
    image.parent.mkdir(parents=True)
    image.touch()
    assert locate(own, tmp_path) == tmp_path / "mine"


def test_locate_says_what_is_wrong_with_the_folder(tmp_path: Path, own: Manifest) -> None:
    with pytest.raises(DataFolderError, match=r"there is no folder .*mine\.yaml.*How to get My images: ask me"):
        locate(own, tmp_path)
    with pytest.raises(DataFolderError, match="does not exist either"):
        locate(own, tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataFolderError, match="is empty"):
        locate(own, tmp_path)
    (tmp_path / "mine" / "images").mkdir()
    with pytest.raises(
        DataFolderError, match=r"laid out otherwise: nothing matches train/\*/\*\.jpeg.*Found there: images/"
    ):
        locate(own, tmp_path)


def test_count_report_sets_published_beside_found() -> None:
    import pandas as pd

    samples = pd.DataFrame({"patient_id": ["a", "a", "b"], "has_label": True, "label": [1, 0, 1]})
    content = yaml.safe_load(GOOD) | {"counts": {"images": 4, "patients": 2, "positive": 2}}
    report = count_report(Manifest.model_validate(content), samples)
    assert [(row["what"], row["published"], row["found"]) for row in report] == [
        ("images", 4, 3),
        ("patients", 2, 2),
        ("positive", 2, 2),
    ]
