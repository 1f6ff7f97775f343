"""Fast implementations of the corruptions: the bits of plain torch, whatever the threads, the layout or the process."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from corrupted_images import smooth_images, some_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.corruptions import CORRUPTIONS, corrupt
from ssrobust_lib.corruptions.implementations import compiled_kernels
from ssrobust_lib.corruptions.parts import run_in_parts
from ssrobust_lib.corruptions.sharpness import (
    banded_product,
    blur_matrix,
    gaussian_blur,
    resolution,
    resolution_matrix,
)
from ssrobust_lib.corruptions.streams import normal_values, random_words
from ssrobust_lib.corruptions.units import kept_pixels
from ssrobust_lib.registry import UnknownNameError

NAMES = CORRUPTIONS.names()
needs_numba = pytest.mark.skipif(compiled_kernels() is None, reason="Numba is not installed")


@pytest.fixture
def restored_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@needs_numba
class TestCompiled:
    def test_every_corruption_has_a_compiled_form(self):
        assert list(compiled_kernels().KERNELS) == NAMES

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("shape", [(1, 1), (3, 85), (64, 64), (57, 41), (130, 260)])
    @pytest.mark.parametrize("share", [0.01, 0.4, 1.0])
    def test_it_gives_the_bits_of_plain_torch(self, name, shape, share):
        images, keys, strength = smooth_images(2, *shape), some_keys(2), share * CORRUPTIONS[name].strongest
        fast, plain = (corrupt(name, images, strength, keys, implementation=way) for way in ("compiled", "torch"))
        assert torch.equal(fast, plain)

    @given(
        name=st.sampled_from(NAMES),
        share=st.floats(1e-4, 1.0),
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        seed=st.integers(0, 1000),
    )
    @settings(max_examples=60, deadline=None)
    def test_it_gives_them_for_any_size_and_strength(self, name, share, height, width, seed):
        images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed))
        keys, strength = some_keys(2, seed), share * CORRUPTIONS[name].strongest
        fast, plain = (corrupt(name, images, strength, keys, implementation=way) for way in ("compiled", "torch"))
        assert torch.equal(fast, plain)

    def test_its_words_are_those_of_the_streams(self):
        keys = torch.from_numpy(some_keys(3))
        found = compiled_kernels().draw_words(keys, 3000)
        assert np.array_equal(found.astype(np.int64), random_words(keys, 3000).numpy())

    def test_its_normal_numbers_are_those_of_the_streams(self):
        keys = torch.from_numpy(some_keys(3))
        found = compiled_kernels().draw_normals(keys, 3000)
        assert np.array_equal(found, normal_values(random_words(keys, 3000)).numpy())

    def test_kept_functions_know_todays_constants(self):
        noise, sums = compiled_kernels().compiled_noise, compiled_kernels().compiled_sums
        say = "a constant that Numba has compiled in has changed: write {} there, so that kept functions are made anew"
        assert noise.digest_of_constants() == noise.CONSTANTS_SEEN, say.format(noise.digest_of_constants())
        assert sums.FIXED_POINT == sums.FIXED_POINT_SEEN, say.format(sums.FIXED_POINT)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("threads", [2, 3, 7])
    def test_threads_change_no_bit(self, name, threads, restored_threads):
        images, keys, strength = smooth_images(5, 210), some_keys(5), 0.5 * CORRUPTIONS[name].strongest
        torch.set_num_threads(1)
        alone = corrupt(name, images, strength, keys)
        torch.set_num_threads(threads)
        assert torch.equal(corrupt(name, images, strength, keys), alone)

    @pytest.mark.parametrize("name", NAMES)
    def test_views_and_strides_change_no_bit_and_are_not_written_to(self, name):
        keys, strength = some_keys(3), 0.5 * CORRUPTIONS[name].strongest
        wide = smooth_images(6, 40, 90)
        for view in (wide[::2, :, ::2, 5:85:2], wide[1:4].transpose(2, 3), wide[:1].expand(3, -1, -1, -1)):
            before = view.clone()
            assert torch.equal(corrupt(name, view, strength, keys), corrupt(name, before, strength, keys))
            assert torch.equal(view, before)

    def test_a_forked_process_gives_the_same_bits(self, restored_threads):
        if not hasattr(os, "fork"):
            pytest.skip("this system does not fork")
        torch.set_num_threads(2)
        images, keys = smooth_images(4, 200), some_keys(4)
        expected = corrupt("gaussian_noise", images, 0.1, keys)  # starts the threads, which a fork does not copy
        child = os.fork()
        if child == 0:  # torch's own threads do not survive a fork either: NumPy compares
            same = np.array_equal(corrupt("gaussian_noise", images, 0.1, keys).numpy(), expected.numpy())
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_numba_plain_torch_does_the_work(tmp_path):
    images, keys = smooth_images(2, 30), some_keys(2)
    torch.save({"images": images, "keys": torch.from_numpy(keys)}, tmp_path / "given.pt")
    program = """
        import sys, torch
        sys.modules["numba"] = None  # importing it raises ImportError
        from ssrobust_lib.corruptions import CORRUPTIONS, corrupt
        given = torch.load(sys.argv[1])
        torch.save({name: corrupt(name, given["images"], 0.5 * CORRUPTIONS[name].strongest, given["keys"])
                    for name in CORRUPTIONS}, sys.argv[2])
    """
    arguments = [str(tmp_path / "given.pt"), str(tmp_path / "found.pt")]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *arguments], check=True)
    found = torch.load(tmp_path / "found.pt")
    assert list(found) == NAMES
    for name, out in found.items():
        assert torch.equal(out, corrupt(name, images, 0.5 * CORRUPTIONS[name].strongest, keys)), name


def test_importing_the_corruptions_imports_neither_numba_nor_triton():
    program = "import sys, ssrobust_lib.corruptions; sys.exit(bool({'numba', 'triton'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_parts_cover_every_unit_once(restored_threads):
    torch.set_num_threads(3)
    for n_units in (1, 2, 5, 100):
        parts = run_in_parts(lambda first, last: list(range(first, last)), n_units)
        assert sorted(unit for part in parts for unit in part) == list(range(n_units))
    assert run_in_parts(lambda first, last: (first, last), 5, at_least=4) == [(0, 5)]


def test_an_error_in_a_part_is_raised(restored_threads):
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        run_in_parts(lambda first, last: 1 / first, 10)


@pytest.mark.parametrize(("asked", "device"), [("fused", "cpu"), ("compiled", "meta")])
def test_an_implementation_for_another_device_is_refused(asked, device):
    from ssrobust_lib.corruptions.implementations import implementation_of

    with pytest.raises(RuntimeError, match=f"implementation '{asked}' needs images on"):
        implementation_of("contrast", asked, torch.device(device))


def test_an_unknown_implementation_is_named():
    with pytest.raises(UnknownNameError, match="unknown implementation 'compild'.*'compiled'"):
        corrupt("contrast", smooth_images(1, 4), 0.5, some_keys(1), implementation="compild")


@pytest.mark.parametrize("strength", [0.005, 0.02, 1 / 16])
def test_products_with_banded_matrices_are_the_same_to_rounding(strength):
    images = smooth_images(2, 48, 70)
    rows, columns = (blur_matrix(side, 70 * strength) for side in (48, 70))
    blurred = gaussian_blur(images, strength, torch.zeros(2))
    assert (banded_product(images, rows, columns) - blurred).abs().max() < 1e-6
    removed = 10 * strength
    rows, columns = (resolution_matrix(side, kept_pixels(side, removed)) for side in (48, 70))
    assert (banded_product(images, rows, columns) - resolution(images, removed, torch.zeros(2))).abs().max() < 1e-6


# Triton reads the setting when its kernels are made: they run in a process of their own
_FUSED = """
    import sys, torch
    from ssrobust_lib.corruptions import CORRUPTIONS, sample_keys
    from ssrobust_lib.corruptions.fused import KERNELS
    device = torch.device(sys.argv[1])
    images = torch.rand(2, 1, 50, 61, generator=torch.Generator().manual_seed(0))
    keys = torch.from_numpy(sample_keys(1, ["a", "b"], "noise", 1))
    for name, kernel in KERNELS.items():
        for share in (0.05, 0.5, 1.0):
            strength = share * CORRUPTIONS[name].strongest
            found = kernel(images.to(device), strength, keys.to(device)).cpu()
            difference = (found - CORRUPTIONS[name].transform(images, strength, keys)).abs()
            if name == "shot_noise":  # a count within rounding of the next whole number
                difference = difference[difference < 0.9 * strength**2]
                assert len(difference) > 0.9999 * images.numel(), name
            assert difference.max() < 1e-6, (name, share, difference.max())
    assert len(KERNELS) == 5
"""


@pytest.mark.parametrize("device", ["interpreter", "cuda"])
def test_fused_kernels_give_the_same_pixels(device):
    pytest.importorskip("triton", reason="Triton is not installed")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    environment = {**os.environ, "TRITON_INTERPRET": "1" if device == "interpreter" else "0"}
    where = "cpu" if device == "interpreter" else "cuda"
    subprocess.run([sys.executable, "-c", textwrap.dedent(_FUSED), where], env=environment, check=True)
