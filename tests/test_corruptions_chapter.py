"""The book's chapter on the corruptions: its code runs exactly as printed, in the order of the page."""

import re
from pathlib import Path

import yaml

BOOK = Path(__file__).resolve().parent.parent / "book"


def blocks():
    return re.findall(r"^```python\n(.*?)^```$", (BOOK / "corruptions.md").read_text(encoding="utf-8"), re.M | re.S)


def test_the_code_of_the_page_runs_in_its_order(capsys):
    space: dict[str, object] = {}
    for block in blocks():
        exec(compile(block, "book/corruptions.md", "exec"), space)
    said = capsys.readouterr().out
    assert "11.1 photons at full intensity" in said and "9.22 mm" in said
    assert space["flat"].std() < 0.5 * space["images"].std()


def test_the_page_shows_every_way_and_is_in_the_book():
    code = "\n".join(blocks())
    for way in ("torchvision_transforms", "monai_transforms", "corrupt_volume", "PUBLISHED_STRENGTHS", "sample_keys"):
        assert way in code
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    assert {"file": "corruptions"} in [chapter for part in contents["parts"] for chapter in part["chapters"]]
