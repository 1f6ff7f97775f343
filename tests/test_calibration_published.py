"""Published strengths in our units, and severities from a file: conversions recomputed, every fault told by field."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.corruptions import CORRUPTIONS, PUBLISHED_STRENGTHS, corrupt
from ssrobust_lib.corruptions.published_strengths import kernel_deviation
from ssrobust_lib.corruptions.sharpness import kept_pixels
from ssrobust_lib.severities.files import FORMAT, given_strengths, read_severities

TASKS = ("pneumonia", "organs")
# medmnistc 0.1.0, medmnistc/corruptions/registry.py: data set -> its name for a corruption -> severity_params
MEDMNIST_C = {
    "pneumonia": {
        "gaussian_noise": [0.04, 0.05, 0.06, 0.07, 0.08], "shot_noise": [300, 200, 150, 100, 80],
        "impulse_noise": [0.005, 0.01, 0.013, 0.017, 0.02], "contrast_down": [0.9, 0.8, 0.7, 0.6, 0.4],
        "brightness_up": [1.1, 1.2, 1.3, 1.4, 1.5], "gaussian_blur": [3, 5, 7, 9, 11, 13],
        "pixelate": [0.8, 0.7, 0.6, 0.5, 0.40],
    },
    "organs": {
        "gaussian_noise": [0.04, 0.08, 0.12, 0.16, 0.20], "shot_noise": [200, 100, 50, 25, 15],
        "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.08], "contrast_down": [0.8, 0.7, 0.6, 0.55, 0.5],
        "brightness_up": [1.2, 1.3, 1.4, 1.5, 1.6], "gaussian_blur": [11, 13, 15, 17, 21],
        "pixelate": [0.7, 0.6, 0.5, 0.40, 0.35],
    },
}  # fmt: skip
SETS = {"pneumonia": "pneumoniamnist", "organs": "organamnist"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("table", PUBLISHED_STRENGTHS)
def test_published_strengths_rise_within_the_declared_ranges(table, task):
    strengths = PUBLISHED_STRENGTHS[table][task]
    assert set(strengths) == set(CORRUPTIONS)
    for name, levels in strengths.items():
        assert len(levels) == 5
        assert (np.diff([0, *levels, CORRUPTIONS[name].strongest]) > 0).all()


def shaped(size=64, seed=0):
    """A float image (1, 1, size, size) in [0, 1] with structure at every scale."""
    return torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("task", TASKS)
class TestMedMnistConversion:
    """Each strength, applied here, against what MedMNIST-C's own formula does with its own number."""

    def ours(self, task, name, level, images):
        return corrupt(name, images, PUBLISHED_STRENGTHS["medmnist_c"][task][name][level], np.zeros(1, np.int64))

    @pytest.mark.parametrize("level", [0, 4])
    def test_noises_have_the_stated_moments(self, task, level):
        grey = torch.full((1, 1, 128, 128), 0.5)
        theirs = {name: values[level] for name, values in MEDMNIST_C[task].items()}
        gaussian = self.ours(task, "gaussian_noise", level, grey)
        assert gaussian.std().item() == pytest.approx(theirs["gaussian_noise"], rel=0.03)
        shot = self.ours(task, "shot_noise", level, grey / 4)  # Poisson(x c) / c has the variance x / c
        assert shot.var().item() == pytest.approx(0.125 / theirs["shot_noise"], rel=0.05)
        replaced = (self.ours(task, "impulse_noise", level, grey) != 0.5).double().mean().item()
        assert replaced == pytest.approx(theirs["impulse_noise"], abs=4 * theirs["impulse_noise"] ** 0.5 / 128)

    def test_contrast_is_theirs_to_rounding_and_resolution_keeps_as_many_pixels(self, task):
        image = shaped(224)
        for level in range(5):
            factor, kept = (MEDMNIST_C[task][name][level] for name in ("contrast_down", "pixelate"))
            flat = (image - image.mean()) * factor + image.mean()
            torch.testing.assert_close(self.ours(task, "contrast", level, image), flat, atol=1e-6, rtol=0)
            strength = PUBLISHED_STRENGTHS["medmnist_c"][task]["resolution"][level]
            assert kept_pixels(224, strength) == int(224 * kept)

    def test_brightness_is_theirs_at_mid_grey(self, task):
        grey = torch.full((1, 1, 8, 8), 0.5)
        for level, factor in enumerate(MEDMNIST_C[task]["brightness_up"]):
            torch.testing.assert_close(self.ours(task, "brightness", level, grey), (grey * factor).clamp(max=1))

    def test_blur_has_the_deviation_of_torchvisions_kernel(self, task):
        import ssrobust_lib.torchvision_ops  # noqa: F401, I001
        from torchvision.transforms.functional import gaussian_blur

        point = torch.zeros(1, 1, 224, 224)
        point[0, 0, 112, 112] = 1
        place = torch.arange(224.0) - 112
        for level, size in enumerate(MEDMNIST_C[task]["gaussian_blur"][:5]):
            theirs = gaussian_blur(point, [size, size])[0, 0].sum(0)
            deviation = (theirs * place**2).sum().sqrt().item()
            assert kernel_deviation(size) == pytest.approx(deviation, rel=1e-4)
            ours = self.ours(task, "gaussian_blur", level, point)[0, 0].sum(0)
            assert (ours * place**2).sum().sqrt().item() == pytest.approx(deviation, rel=0.05)

    def test_numbers_are_those_of_the_package_where_it_is_installed(self, task):
        spec = find_spec("medmnistc")
        if spec is None or spec.origin is None:
            pytest.skip("medmnistc is not installed")
        tree = ast.parse((Path(spec.origin).parent / "corruptions" / "registry.py").read_text(encoding="utf-8"))
        assigned = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
        sets = {key.value: value for key, value in zip(*dict_parts(assigned["CORRUPTIONS_DS"]), strict=True)}
        corruptions = {key.value: call for key, call in zip(*dict_parts(sets[SETS[task]]), strict=True)}
        for name, numbers in MEDMNIST_C[task].items():
            assert ast.literal_eval(corruptions[name].keywords[0].value) == numbers


def dict_parts(node):
    return node.keys, node.values


# ---- severities from a file ----------------------------------------------------------------------------------------


def content(task="organs", **changed):
    levels = {
        name: {"unit": kind.unit, "strengths": [kind.strongest * k / 10 for k in range(1, 6)]}
        for name, kind in CORRUPTIONS._entries.items()
    }
    return {"format": FORMAT, "task": task, "corruptions": levels, "who": "somebody"} | changed


def profile_with(folder, severities):
    return load_profile("smoke", calibration={"severities": severities})


def test_a_file_gives_its_strengths_and_keeps_its_provenance(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content()))
    profile = profile_with(tmp_path, {"organs": str(path)})
    given = given_strengths(profile, "organs")
    assert given.strengths["contrast"] == tuple(CORRUPTIONS["contrast"].strongest * k / 10 for k in range(1, 6))
    assert given.source == "the file calibration.json"
    assert given.content["who"] == "somebody"
    assert given_strengths(profile, "pneumonia") is None


def test_a_path_is_relative_to_the_profile(tmp_path):
    (tmp_path / "shared").mkdir()
    path = tmp_path / "shared" / "theirs.json"
    path.write_text(json.dumps(content()))
    text = (Path(__file__).parent.parent / "profiles" / "smoke.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text.replace("  floor: 0.49\n", "  floor: 0.49\n  severities: {organs: shared/theirs.json}\n"))
    assert load_profile(own).calibration.severities == {"organs": str(path.resolve())}
    own.write_text(text.replace("  floor: 0.49\n", "  floor: 0.49\n  severities: shared/theirs.json\n"))
    assert load_profile(own).calibration.severities_of("pneumonia") == str(path.resolve())


def levels_with(**changed):
    return content()["corruptions"] | {"contrast": content()["corruptions"]["contrast"] | changed}


FAULTS = {
    "not JSON": ("{", "expected a file of severities in JSON"),
    "not a mapping": ("[1]", "file: Input should be a valid dictionary"),
    "another format": (content(format="mine"), "format: Input should be 'ssrobust-severities-1', got 'mine'"),
    "no corruption": (content(corruptions={}), "corruptions: Dictionary should have at least 1 item"),
    "another task": (content(task="pneumonia"), "task: expected 'organs', got 'pneumonia': a file is about one task"),
    "an unknown task": (content(task="organ"), "task: .*unknown task 'organ'.*Did you mean 'organs'"),
    "an unknown corruption": (
        content(corruptions={"fog": {"unit": "m", "strengths": [1, 2, 3, 4, 5]}}),
        "corruptions.fog: .*unknown corruption 'fog'",
    ),
    "four levels": (
        content(corruptions=levels_with(strengths=[0.1, 0.2, 0.3, 0.4])),
        "corruptions.contrast.strengths: List should have at least 5 items",
    ),
    "words for numbers": (
        content(corruptions=levels_with(strengths=["a", 0.2, 0.3, 0.4, 0.5])),
        "corruptions.contrast.strengths.0: Input should be a valid number, got 'a'",
    ),
    "falling levels": (
        content(corruptions=levels_with(strengths=[0.1, 0.3, 0.2, 0.4, 0.5])),
        "corruptions.contrast.strengths: expected each above the one before",
    ),
    "beyond the range": (
        content(corruptions=levels_with(strengths=[0.1, 0.2, 0.3, 0.4, 1.5])),
        "corruptions.contrast.strengths: expected above 0 and up to 0.98",
    ),
    "not a number": (
        content(corruptions=levels_with(strengths=[0.1, 0.2, 0.3, 0.4, float("nan")])),
        "corruptions.contrast.strengths: expected above 0 and up to 0.98",
    ),
    "another unit": (
        content(corruptions=levels_with(unit="percent")),
        "corruptions.contrast.unit: expected 'fraction of the contrast removed', got 'percent'; convert",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_told_by_file_and_field(fault, tmp_path):
    written, words = FAULTS[fault]
    path = tmp_path / "calibration.json"
    path.write_text(written if isinstance(written, str) else json.dumps(written))
    with pytest.raises(ProfileError, match=rf"calibration\.json: {words}"):
        read_severities(path, "organs")


def test_what_a_table_or_file_says_nothing_about_is_named(tmp_path, monkeypatch):
    path = tmp_path / "calibration.json"
    some = {name: levels for name, levels in content()["corruptions"].items() if name not in ("contrast", "resolution")}
    path.write_text(json.dumps(content(corruptions=some)))
    with pytest.raises(ProfileError, match="the file calibration.json says nothing about contrast, resolution for the"):
        given_strengths(profile_with(tmp_path, {"organs": str(path)}), "organs")
    silent = {
        name: levels for name, levels in PUBLISHED_STRENGTHS["imagenet_c"]["organs"].items() if name != "contrast"
    }
    monkeypatch.setitem(PUBLISHED_STRENGTHS, "imagenet_c", {"organs": silent})
    with pytest.raises(
        ProfileError, match="ImageNet-C says nothing about contrast for the task organs: leave them out"
    ):
        given_strengths(profile_with(tmp_path, "imagenet_c"), "organs")
