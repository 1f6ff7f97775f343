"""Fingerprints ignore wording and follow imports."""

import pytest

from ssrobust_lib import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "ssrobust_lib"
    (root / "family").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "family" / "__init__.py").write_text("from pkgutil import iter_modules  # each registers itself\n")
    (root / "shelf").mkdir()
    (root / "shelf" / "__init__.py").write_text('"""What stands together."""\n')
    (root / "shelf" / "taken.py").write_text("x = 1\n")
    (root / "shelf" / "left.py").write_text("x = 1\n")
    (root / "family" / "member.py").write_text("x = 1\n")
    (root / "used.py").write_text('"""About."""\n\n\ndef f():\n    """Say."""\n    return 1\n')
    (root / "apart.py").write_text("x = 1\n")
    (root / "cell.py").write_text(
        "def compute():\n    from ssrobust_lib.used import f\n    from ssrobust_lib import family\n"
        "    from ssrobust_lib.shelf import taken\n    return f()\n"
    )
    monkeypatch.setattr(fingerprint, "PACKAGE", root)
    monkeypatch.setattr(fingerprint, "PARSED", tmp_path / "parsed.json")

    def key():
        fingerprint.code_key.cache_clear()
        fingerprint._read.cache_clear()
        fingerprint._parsed_before.cache_clear()
        return fingerprint.code_key("cell")

    return root, key


def test_docstrings_comments_and_layout_do_not_count(package):
    root, key = package
    before = key()
    (root / "used.py").write_text("# a comment\ndef f():\n\n    return (1)\n")
    assert key() == before


@pytest.mark.parametrize("name", ["used.py", "family/member.py", "shelf/taken.py", "cell.py"])
def test_code_that_is_imported_counts(package, name):
    root, key = package
    before = key()
    (root / name).write_text((root / name).read_text() + "\ny = 2\n")
    assert key() != before


@pytest.mark.parametrize("name", ["apart.py", "shelf/left.py"])
def test_code_that_is_not_imported_does_not_count(package, name):
    root, key = package
    before = key()
    (root / name).write_text("x = 2\n")
    assert key() == before


def test_settings_in_another_order_are_the_same():
    assert fingerprint.settings_key({"a": 1, "b": [1, 2]}) == fingerprint.settings_key({"b": [1, 2], "a": 1})
    assert fingerprint.settings_key({"a": 1}) != fingerprint.settings_key({"a": 1.5})
