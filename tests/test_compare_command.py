"""`ssrobust compare` from end to end, on a computed study: text, page, tables, and errors in one line."""

import re
import shutil

import pandas as pd
import pytest
from stored_runs import scans, write_run, xrays
from tiny_profile import profile_of_xrays, write_profile

from ssrobust_lib import cli
from ssrobust_lib.book.browser import find_chromium
from ssrobust_lib.book.checks import HEAVIEST_PAGE
from ssrobust_lib.book.inspection import check_book
from ssrobust_lib.config import COMPARISONS, ProfileError, load_profile
from ssrobust_lib.run_comparison.comparison import IDENTICAL


@pytest.fixture(scope="module")
def other_study(tmp_path_factory):
    """The X-ray task of the tiny study, trained longer, with two seeds, under one corruption."""
    from ssrobust_lib.study import Study

    folder = tmp_path_factory.mktemp("other")
    sections = profile_of_xrays(name="other", seeds=2, arms=["scratch", "jigsaw"], corruptions=["contrast"])
    sections["finetune"] = {"pneumonia": sections["finetune"]["pneumonia"] | {"epochs": 3}}
    study = Study(load_profile(write_profile(folder, sections)), runs=folder / "runs")
    study.ensure(study.all_cells)
    return study


def test_two_computed_runs(tiny_study, other_study, tmp_path, capsys):
    out = tmp_path / "page"
    assert cli.main(["compare", str(tiny_study.folder), str(other_study.folder), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"finetune\.pneumonia\.epochs +2 +3", text)
    assert re.search(r"pneumonia: AUROC, clean +Self-supervised \(jigsaw\) ", text)
    assert "one seed in run A: how far seeds differ is not known" in text and IDENTICAL not in text
    assert text.strip().endswith((out / "index.html").as_uri())
    changes = pd.read_csv(out / "changes.csv")
    assert set(changes["task"]) == {"pneumonia"} and set(changes["condition"]) == {"clean", "contrast"}
    own = tiny_study.table(tiny_study.cells("07_stats"), "seed_scores")
    row = changes.query("metric == 'auroc' and arm == 'jigsaw' and part == 'scores'").iloc[0]
    place = own.query("metric == 'auroc' and init == 'jigsaw' and scope == 'clean'")
    assert row["value_a"] == pytest.approx(place["value"].mean())
    assert {"set_up.csv", "claims.csv", "severities.csv", "metrics.csv"} <= {path.name for path in out.iterdir()}


def test_a_run_and_its_copy_without_images_are_identical(tiny_study, tmp_path, capsys):
    copy = tmp_path / tiny_study.profile.name
    shutil.copytree(
        tiny_study.folder / "cells", copy / "cells", ignore=shutil.ignore_patterns("cache", "*.safetensors")
    )
    assert cli.main(["compare", str(tiny_study.folder), str(copy), "--out", str(tmp_path / "page")]) == 0
    text = capsys.readouterr().out
    assert "Identical: every table of both runs is the same, bit for bit." in text
    assert set(pd.read_csv(tmp_path / "page" / "changes.csv")["verdict"]) == {"the same"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with every kind of content, of made-up runs."""
    folder = tmp_path_factory.mktemp("runs")
    kits = {"n": 6, "corruptions": (), "name": "kits19"}
    write_run(folder / "first", [xrays(0), scans(1), scans(2, **kits)])
    write_run(
        folder / "second", [xrays(3), scans(4, shift=0.1, gain=0.1), scans(5, **kits)], key="bbbbbbbbbb", epochs=4
    )
    out = folder / "page"
    assert cli.main(["compare", str(folder / "first"), str(folder / "second"), "--out", str(out)]) == 0
    return out / "index.html"


def test_the_page_is_whole_light_and_in_order(page):
    assert check_book(page, widths=()) == []
    assert page.stat().st_size < HEAVIEST_PAGE
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)  # everything is inside
    assert "<script" not in text


def test_the_page_can_be_read_without_seeing_it(page):
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    assert soup.html["lang"] == "en" and len(soup.find_all("h1")) == 1 and soup.find("main")
    assert all(image.get("alt", "").strip() for image in soup.find_all("img")) and soup.find("img")
    assert all(link["href"] == "" or soup.find(id=link["href"][1:]) for link in soup.select('a[href^="#"]'))
    assert all(head.get("scope") == "col" for head in soup.find_all("th"))
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
def test_the_page_fits_a_phone_and_fetches_nothing(page):
    assert check_book(page) == []


def test_errors_are_told_in_one_line(tmp_path, capsys):
    write_run(tmp_path / "a", [xrays(0).query("severity < 2")])
    write_run(tmp_path / "b", [scans(0).query("severity < 2")])
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("ssrobust: the runs have no score in common") and said.count("\n") == 1
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_no_profile_takes_the_folder_of_comparisons(tmp_path):
    with pytest.raises(ProfileError, match="holds comparisons of runs"):
        load_profile(write_profile(tmp_path, profile_of_xrays(name=COMPARISONS)))
