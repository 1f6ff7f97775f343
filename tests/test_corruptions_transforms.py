"""The corruptions as transforms of torchvision and MONAI: the same pixels, types kept, seeds that hold in workers."""

import numpy as np
import pytest
import torch
from corrupted_images import smooth_images

import ssrobust_lib.torchvision_ops  # noqa: F401

# isort: split
from monai.data import DataLoader as MonaiLoader
from monai.data import Dataset as MonaiDataset
from monai.data import MetaTensor
from monai.transforms import Compose
from torchvision import tv_tensors
from torchvision.transforms import v2

from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt, monai_transforms, sample_keys
from ssrobust_lib.corruptions.torchvision_transforms import Corrupt, SampleId
from ssrobust_lib.corruptions.transform_arguments import BY_STRENGTH, choose_strength
from ssrobust_lib.corruptions.volumes import corrupt_volume
from ssrobust_lib.registry import UnknownNameError

NAMES = CORRUPTIONS.names()


class Samples(torch.utils.data.Dataset):
    """Forty images with ids, through a transform."""

    def __init__(self, transform):
        self.transform, self.images = transform, smooth_images(40, 12)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform({"image": tv_tensors.Image(self.images[index]), "id": SampleId(f"patient-{index}")})


@pytest.mark.parametrize("name", NAMES)
class TestEveryCorruption:
    def test_torchvision_gives_the_studys_pixels(self, name):
        image = smooth_images(1, 24)[0]
        out = Corrupt(name, severity=3, seed=7)({"image": tv_tensors.Image(image), "id": SampleId("p")})
        strength, keys = IMAGENET_C_STRENGTHS[name][2], sample_keys(7, ["p"], name, 3)
        assert isinstance(out["image"], tv_tensors.Image)
        assert torch.equal(out["image"].as_subclass(torch.Tensor), corrupt(name, image[None], strength, keys)[0])

    def test_monai_gives_the_studys_pixels(self, name):
        image = smooth_images(1, 24)[0]
        out = monai_transforms.Corrupt(name, severity=3, seed=7)(image, "p")
        strength, keys = IMAGENET_C_STRENGTHS[name][2], sample_keys(7, ["p"], name, 3)
        assert torch.equal(torch.as_tensor(out), corrupt(name, image[None], strength, keys)[0])

    def test_severity_0_is_clean(self, name):
        image = smooth_images(1, 8)[0]
        assert torch.equal(Corrupt(name, severity=0)(image), image)

    def test_a_grey_image_repeated_in_three_channels_stays_grey(self, name):
        image = smooth_images(1, 24)[0].repeat(3, 1, 1)
        out = Corrupt(name, severity=5, generator=torch.Generator().manual_seed(0))(image)
        assert out.shape == (3, 24, 24) and torch.equal(out[0], out[1]) and torch.equal(out[0], out[2])


class TestTorchvision:
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float64])
    def test_types_are_kept(self, dtype):
        whole = v2.functional.to_dtype(smooth_images(1, 16)[0], dtype, scale=True)
        out = Corrupt("brightness", 0.25)(whole)
        assert out.dtype == dtype
        expected = (v2.functional.to_dtype(whole, torch.float32, scale=True) + 0.25).clamp(0, 1)
        step = {torch.uint8: 1 / 255, torch.float16: 1e-3}.get(dtype, 1 / 65535)
        assert (v2.functional.to_dtype(out, torch.float32, scale=True) - expected).abs().max() < step

    def test_masks_labels_and_boxes_pass_by(self):
        mask = tv_tensors.Mask(torch.ones(8, 8, dtype=torch.uint8))
        image = tv_tensors.Image(torch.full((1, 8, 8), 0.25))
        out = v2.Compose([Corrupt("brightness", 0.5)])({"image": image, "mask": mask, "label": 3})
        assert torch.equal(out["mask"], mask) and out["label"] == 3
        assert torch.allclose(out["image"], torch.tensor(0.75))

    def test_images_of_a_batch_have_streams_of_their_own(self):
        out = Corrupt("gaussian_noise", 0.1)(torch.full((2, 3, 16, 16), 0.5))
        assert not torch.equal(out[0], out[1]) and torch.equal(out[0, 0], out[0, 2])

    def test_workers_give_the_same_pixels(self):
        samples = Samples(Corrupt("gaussian_noise", severity=2, seed=5))
        alone = [sample["image"] for sample in samples]
        loader = torch.utils.data.DataLoader(samples, batch_size=8, num_workers=2)
        assert torch.equal(torch.cat([batch["image"] for batch in loader]), torch.stack(alone))

    def test_without_an_id_the_generator_decides(self):
        image = torch.full((1, 16, 16), 0.5)
        first, again, other = (
            Corrupt("gaussian_noise", 0.1, generator=torch.Generator().manual_seed(seed))(image) for seed in (1, 1, 2)
        )
        assert torch.equal(first, again) and not torch.equal(first, other)

    @pytest.mark.parametrize(
        ("image", "error", "message"),
        [
            (v2.functional.to_pil_image(torch.zeros(1, 8, 8)), TypeError, "v2.ToImage"),
            (torch.zeros(2, 8, 8), ValueError, "1 or 3, H, W"),
            (torch.full((1, 8, 8), 2.0), ValueError, r"in \[0, 1\]"),
            ({"image": torch.zeros(1, 4, 4), "a": SampleId("a"), "b": SampleId("b")}, ValueError, "one SampleId"),
        ],
    )
    def test_wrong_input_is_refused(self, image, error, message):
        with pytest.raises(error, match=message):
            Corrupt("contrast", 0.5)(image)


class TestMonai:
    def test_volumes_slices_and_metadata(self):
        volume = smooth_images(6, 20, 28).movedim(0, -1)[0][None]  # (C, H, W, D), as MONAI loads NIfTI
        image = MetaTensor(volume, affine=np.diag([0.8, 0.8, 3.0, 1.0]))
        key = sample_keys(0, ["scan"], "gaussian_blur", BY_STRENGTH)
        for mode in ("slices", "volume"):
            change = monai_transforms.Corrupt("gaussian_blur", 0.04, mode=mode, slice_axis=2)
            out = change(image, "scan")
            expected = corrupt_volume(
                "gaussian_blur", volume.movedim(3, 1)[None], 0.04, key, mode=mode, spacing_mm=(3, 0.8, 0.8)
            )
            assert isinstance(out, MetaTensor) and torch.equal(out.affine, image.affine)
            assert torch.allclose(out.as_tensor().movedim(3, 1)[None], expected, atol=1e-6)

    def test_arrays_stay_arrays(self):
        image = smooth_images(1, 8)[0].numpy()
        before = image.copy()
        out = monai_transforms.corrupt_channels(image, "brightness", 0.2, 0)
        assert torch.allclose(torch.as_tensor(out), torch.from_numpy(image + np.float32(0.2)).clamp(0, 1))
        assert np.array_equal(image, before)

    def test_dictionaries(self):
        data = {"image": smooth_images(1, 8)[0], "other": smooth_images(1, 8, seed=1)[0], "sample_id": "p", "label": 1}
        change = Compose([monai_transforms.Corruptd(["image"], "shot_noise", 0.3, seed=4)])
        out, again = change(data), change(data)
        assert torch.equal(out["image"], again["image"]) and not torch.equal(out["image"], data["image"])
        assert torch.equal(out["other"], data["other"]) and out["label"] == 1
        del data["sample_id"]
        with pytest.raises(KeyError, match="expected the sample's id under 'sample_id'"):
            monai_transforms.Corruptd(["image"], "shot_noise", 0.3)(data)

    def test_random_transforms_follow_their_seed(self):
        image = smooth_images(1, 16)[0]

        def drawn(seed):
            change = monai_transforms.RandCorrupt("gaussian_noise", (0.05, 0.2), prob=0.5).set_random_state(seed)
            return torch.stack([torch.as_tensor(change(image)) for _ in range(30)])

        outs = drawn(0)
        assert torch.equal(outs, drawn(0)) and not torch.equal(outs, drawn(1))
        clean = [torch.equal(out, image) for out in outs]
        assert 5 < sum(clean) < 25
        strengths = (outs - image).std(dim=(1, 2, 3))
        assert strengths.max() < 0.22 and strengths[[not same for same in clean]].min() > 0.03

    def test_random_dictionaries_share_what_is_drawn(self):
        image = smooth_images(1, 16)[0]
        change = monai_transforms.RandCorruptd(["a", "b"], "impulse_noise", prob=1.0).set_random_state(3)
        out = change({"a": image, "b": image.clone()})
        assert torch.equal(out["a"], out["b"]) and not torch.equal(out["a"], image)
        data = MonaiDataset([{"a": image}] * 6, monai_transforms.RandCorruptd(["a"], "impulse_noise", prob=1.0))
        first = [batch["a"] for batch in MonaiLoader(data, batch_size=1, num_workers=0)]
        assert not torch.equal(first[0], first[1])

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: monai_transforms.Corrupt("contrast", 0.5, mode="3d"), UnknownNameError, "unknown mode"),
            (lambda: monai_transforms.Corrupt("contrast", 0.5, slice_axis=3), ValueError, "0, 1 or 2"),
            (lambda: monai_transforms.RandCorrupt("contrast", (0.5, 0.1)), ValueError, "weakest, strongest"),
            (lambda: monai_transforms.RandCorrupt("contrast", (0.5, 1.1)), ValueError, "expected 0 to 0.98"),
            (lambda: monai_transforms.Corrupt("contrast", 0.5)(torch.zeros(8, 8), "p"), ValueError, r"\(C, H, W\)"),
            (
                lambda: monai_transforms.Corrupt("contrast", 0.5)(torch.zeros(1, 8, 8, dtype=torch.uint8), "p"),
                TypeError,
                "expected floats",
            ),
        ],
    )
    def test_wrong_input_is_refused(self, make, error, message):
        with pytest.raises(error, match=message):
            make()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (("contrst", 0.5, None, None), UnknownNameError, "Did you mean 'contrast'"),
        (("contrast", None, None, None), ValueError, "either a strength or a severity"),
        (("contrast", 0.5, 3, None), ValueError, "either a strength or a severity"),
        (("contrast", None, 6, None), ValueError, "from 0"),
        (("contrast", None, -1, None), ValueError, "from 0"),
        (("contrast", None, True, None), ValueError, "from 0"),
        (("contrast", None, 2, (0.1, 0.2)), ValueError, "expected five"),
        (("contrast", 1.5, None, None), ValueError, "expected 0 to 0.98"),
    ],
)
def test_wrong_strengths_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        choose_strength(*given)
