"""The paper's numbers and claims as files: complete, consistent with each other, and refused when broken."""

import numpy as np
import pytest

from ssrobust_lib.profile_sections import CORRUPTION_NAMES
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.paper import PAPER_CLAIMS, PAPER_RESULTS, fill_numbers, paper_claims, paper_results


@pytest.fixture(scope="module")
def results():
    return paper_results()


def test_the_tables_as_printed(results):
    printed = results.set_index("id")
    assert printed.loc["table2.dice.scratch", "printed"] == "0.900"  # the zero is printed
    assert printed.loc["text.rsna.images", "printed"] == "244,483"
    assert printed.loc["text.rsna.images", "value"] == 244483
    tables = results[results["source"].str.startswith("Table")]
    assert sorted(tables["value"]) == [0.486, 0.670, 0.739, 0.761, 0.804, 0.821, 0.9, 0.91]
    assert sorted(tables["p"].dropna()) == [0.0002, 0.0002, 0.002, 0.003]


def test_figures_have_one_row_per_corruption(results):
    for figure, negative, significant in (
        ("Figure 3", set(), {"brightness", "gaussian_blur", "resolution"}),
        ("Figure 4", {"impulse_noise"}, {"brightness", "contrast", "gaussian_noise", "resolution"}),
    ):
        rows = results[results["source"] == figure].set_index("condition")
        assert sorted(rows.index) == sorted(CORRUPTION_NAMES)
        assert set(rows.index[rows["direction"] == "-"]) == negative
        assert set(rows.index[rows["p_is_bound"]]) == significant
        assert rows["value"].isna().all() and (rows.loc[list(significant), "p"] == 0.001).all()


def test_printed_inconsistencies_are_kept_and_noted(results):
    printed = results.set_index("id")
    table_gain = 100 * (printed.loc["table1.auroc.jigsaw", "value"] - printed.loc["table1.auroc.scratch", "value"])
    assert printed.loc["text.auroc.gain", "value"] == 1.6 and table_gain == pytest.approx(1.7)
    kits = 100 * (printed.loc["table4.dice.jigsaw", "value"] - printed.loc["table4.dice.scratch", "value"])
    assert printed.loc["text.kits.gain", "value"] == pytest.approx(kits)
    assert printed.loc["fig4.impulse_noise.level", "value"] < printed.loc["text.floor", "value"]
    odd = ["text.auroc.gain", "text.kits.gain", "fig4.impulse_noise.level", "text.figure_reference", "text.rsna.images"]
    assert (printed.loc[odd, "note"] != "").all()


def test_claims_take_their_numbers_from_the_table(results):
    claims = paper_claims(results=results)
    assert {claim.section for claim in claims} == {"Abstract", "Introduction", "2", "3.2", "3.3", "3.4", "Conclusions"}
    assert not any("{" in claim.paper for claim in claims)
    changed = results.assign(printed=results["printed"].where(results["id"] != "table4.dice.jigsaw", "0.999"))
    assert any("0.999" in claim.paper for claim in paper_claims(results=changed))


def test_filling_names_what_is_not_printed(results):
    assert fill_numbers("{table1.accuracy.jigsaw} at p = {table1.accuracy.jigsaw:p}", results) == "0.761 at p = 0.0002"
    with pytest.raises(UnknownNameError, match="table1.accuracy.jigsaw"):
        fill_numbers("{table1.acuracy.jigsaw}", results)
    with pytest.raises(ValueError, match="prints no p"):
        fill_numbers("{table1.accuracy.scratch:p}", results)


def test_broken_files_are_refused(tmp_path, results):
    with pytest.raises(FileNotFoundError, match="expected the paper's numbers"):
        paper_results(tmp_path / "none.csv")
    lines = PAPER_RESULTS.read_text(encoding="utf-8").splitlines()
    (tmp_path / "twice.csv").write_text("\n".join([*lines, lines[1]]), encoding="utf-8")
    with pytest.raises(ValueError, match="table1.accuracy.scratch"):
        paper_results(tmp_path / "twice.csv")
    (tmp_path / "columns.csv").write_text("id,value\na,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the columns"):
        paper_results(tmp_path / "columns.csv")
    text = PAPER_CLAIMS.read_text(encoding="utf-8")
    for broken, message in (
        (text.replace("rule: higher", "rule: highest", 1), "claim effective-on-small-sets"),
        (text + text[text.rindex("- id:") :], "occurs twice"),
        ("a: mapping", "expected a list"),
        (text.replace("select: {", "select: {{", 1), "expected YAML"),
        (text.replace("  untested:", "  not_tested:", 1), "claim smaller-sets-perform-worse: .*not_tested"),
        (text.replace("anchor: table-1-pneumonia", "anchor: '#table-1'", 1), "figures.0.anchor"),
    ):
        (tmp_path / "claims.yaml").write_text(broken, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            paper_claims(tmp_path / "claims.yaml", results)
    assert np.isnan(results.set_index("id").loc["fig3.contrast", "value"])
