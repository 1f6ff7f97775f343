"""Where numbers come from, what to cite, and the answer on the start page: read from records, never typed."""

import platform

import numpy as np
import pandas as pd
import pytest
import yaml

from ssrobust_lib import store
from ssrobust_lib.book import answers, bibliography, citing, provenance
from ssrobust_lib.config import PROFILES, load_profile
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.hardware import hardware

RECORD = {"seconds": 2.0, "cpu_seconds": 3.0, "peak_memory_bytes": 2**30, "commit": "abc", "versions": {"torch": "2"}}
RECORD |= {"hardware": {"system": "Linux x86_64", "processor": "A CPU", "cores": 4, "memory_bytes": 8 * 2**30}}
RECORD |= {"finished": "2026-11-23T11:19:45+0100", "step": "01_data"}


def test_costs_add_up_and_the_memory_is_the_largest():
    records = [RECORD, RECORD | {"peak_memory_bytes": 3 * 2**30}, RECORD | {"step": "07_stats", "seconds": 0.5}]
    costs = provenance.cost_table(records).set_index("step")
    assert costs.loc["01_data"].tolist() == [2, 4.0, 6.0, 3.0]
    assert costs.loc["all"].tolist() == [3, 4.5, 9.0, 3.0] and costs.index[-1] == "all"


def test_what_no_record_states_is_said_to_be_not_recorded():
    bare = {"step": "01_data", "commit": "unknown"}
    assert provenance.cost_table([bare])["wall_seconds"].isna().all()
    assert provenance._costs([bare]).count(provenance.UNKNOWN) >= 6
    assert f"hardware {provenance.UNKNOWN}" in provenance._machine([bare])
    code = provenance._code([bare])
    assert f"commit {provenance.UNKNOWN}" in code and f"from {provenance.UNKNOWN}" in code


def test_changed_trees_several_commits_and_machines_are_named():
    other = RECORD | {"commit": "def-dirty", "hardware": RECORD["hardware"] | {"gpus": ["H100, 80 GiB"]}}
    code, machine = provenance._code([RECORD, RECORD, other]), provenance._machine([RECORD, other])
    assert "`abc`, unchanged: 2 of 3 cells" in code and "`def`; **files were changed after it**: 1 of 3" in code
    assert "2026-11-23 10:19 UTC" in code, "times are in UTC"
    assert "more than one kind" in machine and "GPU: H100, 80 GiB" in machine and "no GPU used" in machine


def test_a_checksum_depends_on_contents_alone():
    rows = pd.DataFrame({"set": "s", "split": "test", "sample_id": ["a", "b"], "patient_id": "p", "has_label": True})
    one = provenance.image_table(rows.assign(content_hash=["x", "y"]))
    other = provenance.image_table(rows.assign(content_hash=["y", "x"], sample_id=["c", "d"]))
    changed = provenance.image_table(rows.assign(content_hash=["x", "z"]))
    assert one.loc[0, "sha256"] == other.loc[0, "sha256"] != changed.loc[0, "sha256"]
    assert one.loc[0, ["part", "images", "patients", "labelled"]].tolist() == ["test", 2, 1, 2]
    assert provenance.image_table(rows.assign(content_hash=["x", None])).loc[0, "sha256"] == provenance.UNKNOWN


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_parameters_are_whole_but_name_no_place(name):
    profile = load_profile(name).model_copy(update={"data_root": "/home/someone/images"})
    public = provenance.public_parameters(profile.model_dump(mode="json"))
    assert "someone" not in str(public) and "data_root" not in public
    assert public["study_seed"] == profile.study_seed and set(public["data"]) == set(profile.data)
    assert provenance.public_parameters({"set": "../mine/own.yaml", "unit": "1/mm"}) == {
        "set": "own.yaml",
        "unit": "1/mm",
    }


def test_records_name_processor_memory_and_libraries_but_no_place_or_person(tmp_path):
    with store.writing(tmp_path / "cell", {}):
        pass
    record = store.read_json(tmp_path / "cell" / store.RECORD)
    assert record["hardware"]["processor"] and record["hardware"]["cores"] >= record["hardware"]["usable_cores"] >= 1
    assert record["hardware"] == hardware() and record["finished"] and record["cpu_seconds"] >= 0
    assert set(store.PACKAGES) < set(record["versions"]) and store.installed("no-such-package") == "not installed"
    for private in (str(tmp_path), platform.node() or "?"):
        assert private not in str(record)


def test_the_page_of_a_finished_study(tiny_study):
    text = provenance.provenance_text(tiny_study)
    assert text.count("## ") == 6 and f"Study seed {tiny_study.profile.study_seed}" in text
    for forbidden in (str(tiny_study.folder), "/home/", "/tmp/", "/root/"):
        assert forbidden not in text
    samples = tiny_study.table(tiny_study.cells("01_data"), "samples")
    assert text.count("…</td>") == samples.groupby(["set", "split"]).ngroups, "a checksum for each part of each set"
    cited = citing.citation_text(tiny_study)
    assert "@software{ssrobust" in cited and "@misc{navarro2021" in cited


def test_terms_say_what_a_whole_copy_holds_and_explain_only_what_is_shown(tiny_study):
    text = provenance._terms(tiny_study)
    assert "a whole copy: 299 images" in text and "as published" not in text
    assert "Phantoms lie in the layout" in text
    assert "keys of the page How to cite" not in text, "sets of phantoms show no key"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (0, "Every file could be read."),
        (1, "1 file could not be read and was left out."),
        (1200, "1,200 files could not be read and were left out."),
    ],
)
def test_files_that_could_not_be_read(files, words):
    assert provenance._unread(files) == words


def test_phantoms_are_named_in_one_sentence_and_a_version_without_a_release_has_a_year(tiny_study):
    cited = citing.citation_text(tiny_study)
    assert cited.count("cite this software") == 1 and cited.count("Phantoms in the layouts of") == 1
    titles = [load_manifest(name).title for task in tiny_study.profile.tasks for name in tiny_study.profile.sets(task)]
    assert len(titles) > 1 and all(title in cited for title in titles)
    assert f"year = {{{citing.book_year()}}}" in cited and citing.book_year().isdigit()
    released = citing.about_software() | {"date-released": "1999-01-02"}
    assert "year = {1999}" in citing.software_bibtex(released, year=citing.book_year())


def test_references_are_alphabetical_family_names_first():
    from pybtex.database import parse_file
    from pybtex.plugin import find_plugin

    bibliography.setup(None)
    written = find_plugin("pybtex.style.formatting", bibliography.STYLE)().format_bibliography(
        parse_file(str(citing.BIBLIOGRAPHY))
    )
    texts = [entry.text.render_as("text") for entry in written]
    names = [text.split(",")[0].lower() for text in texts]
    assert names == sorted(names) and "navarro" in names
    assert any(text.startswith("Navarro, Fernando") for text in texts)
    assert bibliography.STYLE in citing.BOOK_CONFIGURATION.read_text() and bibliography.__name__ in (
        citing.BOOK_CONFIGURATION.read_text()
    )


def test_the_software_is_cited_as_its_citation_file_says():
    about = {"title": "T & x", "version": 2, "date-released": "2027-02-01", "doi": "10.1/x", "url": "https://e.org"}
    about["authors"] = [{"family-names": "Roe", "given-names": "Jo"}, {"name": "The Group"}]
    text = citing.software_bibtex(about, "abc")
    for line in ("author = {Roe, Jo and {The Group}}", "year = {2027}", "doi = {10.1/x}", "note = {commit abc}"):
        assert line in text
    about = yaml.safe_load(citing.CITATION_FILE.read_text(encoding="utf-8"))
    assert about["title"] in citing.software_bibtex(about) and f"{{{about['version']}}}" in citing.software_bibtex(
        about
    )


def test_bibtex_is_that_of_the_bibliography_and_a_lost_key_is_named():
    text = citing.BIBLIOGRAPHY.read_text(encoding="utf-8")
    assert len(citing.bibliography()) == text.count("\n@")
    assert all(entry in text and entry.count("{") == entry.count("}") for entry in citing.bibliography().values())
    with pytest.raises(KeyError, match="nobody2020"):
        citing.entries_bibtex(["nobody2020"])


def compared(**changed):
    row = {"task": "organs", "metric": "dice", "role": "home", "arm": "jigsaw", "structure": "", "set": "visceral"}
    row |= {"scope": "all corruptions", "difference": 0.1, "ci_low": 0.02, "ci_high": 0.2, "note": ""}
    return row | changed


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "these networks hold up **better**, and too few seeds"),
        (
            {"method_ci_low": -0.1, "method_ci_high": 0.3},
            "patients and seeds random): chance alone can explain that. On clean images: +0.030 [+0.020, +0.200].",
        ),
        ({"method_ci_low": 0.01, "method_ci_high": 0.3}, "the method holds up **better**"),
        ({"method_ci_low": -0.2, "method_ci_high": -0.1, "difference": -0.15}, "−0.150 (95 % interval [−0.200"),
        ({"method_ci_low": -0.2, "method_ci_high": -0.1}, "the method holds up **worse**"),
        ({"ci_low": np.nan, "ci_high": np.nan}, "nothing says whether"),
        ({"difference": np.nan, "note": "one class only"}, "was not compared (one class only)"),
    ],
)
def test_the_answer_follows_the_method_where_it_can(changed, words):
    clean = compared(scope="clean", difference=0.03)
    text = answers.answer_text(pd.DataFrame([compared(**changed), clean]), {"organs": "dice"}, "jigsaw", {})
    assert words in text and text.count("\n") == 1
    assert ("On clean images: +0.030" in text) == ("not compared" not in text)


def test_an_answer_needs_a_comparison():
    table = pd.DataFrame([compared(arm="rotation")])
    assert "no comparison" in answers.answer_text(table, {"organs": "dice"}, "jigsaw", {})
