"""Loops of the three noises, compiled for the CPU by Numba: one read and one write of each pixel.

Enters: pixels float32 (B, P), one key per image, a range of tiles of 1,024 pixels. Leaves: `out`, filled there. Numbers
and order of operations are those of `streams` and `noise` (no fused multiply-add, no reassociation), so the bits are.

A tile goes through short loops over buffers that stay in the processor's first cache: each loop is simple enough for
the compiler to use vector instructions. The look-up in the normal table is a loop of its own and its table an argument,
which keeps it scalar: vector gathers are slow on many processors.
"""

from hashlib import sha256

import numpy as np
from numba import njit

from ssrobust_lib.corruptions.noise import EXPONENTIAL, FEW_PHOTONS, HIGHEST_COUNT
from ssrobust_lib.corruptions.photon_table import COLUMN_BITS, MOST_PHOTONS, ROWS_PER_ROOT, UNSURE
from ssrobust_lib.corruptions.streams import BLOCK, COUNTERS, KEY_STEPS, MULTIPLIERS, SEGMENT_BITS, normal_table

TILE = 4 * BLOCK  # pixels

# Numba keeps compiled functions until this file changes, with the constants of other files that it has seen. So their
# digest (`digest_of_constants`) stands here: where one of them changes, a test asks for this line to change as well.
CONSTANTS_SEEN = "394bb09bfb9db1d8"
_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
_M0, _M1 = (np.uint64(value) for value in MULTIPLIERS)
_W0, _W1 = (np.uint64(value) for value in KEY_STEPS)
_N_COUNTERS = np.uint64(COUNTERS)
_FRACTION_BITS = np.int32(23 - SEGMENT_BITS)
_FRACTION_MASK = np.int32((1 << (23 - SEGMENT_BITS)) - 1)
_FIRST_SEGMENT = np.int32(126 << SEGMENT_BITS)
_SIGN_BITS = np.int32(31)
_QUANTILE_BITS = np.uint32(9)
_ZERO, _ONE, _HALF, _TWO = (np.float32(value) for value in (0, 1, 0.5, 2))
_FEW = np.float32(FEW_PHOTONS)
_A, _B, _C, _D, _E = (np.float32(value) for value in (1 / 270, 7 / 810, 8 / 405, 1 / 72, 1 / 6))
_EIGHTH = np.float32(-0.125)
_TO_QUANTILE = np.float32(2.0**-23)
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(value) for value in EXPONENTIAL)
_MOST, _ROWS_PER_ROOT = np.float32(MOST_PHOTONS), np.float32(ROWS_PER_ROOT)
_COLUMN_BITS, _COLUMN_SHIFT = np.int32(COLUMN_BITS), np.uint32(32 - COLUMN_BITS)
_UNSURE = np.uint8(UNSURE)
_SHARES = np.array([1 / max(k, 1) for k in range(HIGHEST_COUNT + 1)], np.float32)


def digest_of_constants() -> str:
    """Digest of the numbers that other files have put into the functions below."""
    given = (
        *EXPONENTIAL, FEW_PHOTONS, HIGHEST_COUNT, COLUMN_BITS, MOST_PHOTONS, ROWS_PER_ROOT, UNSURE,
        BLOCK, COUNTERS, *KEY_STEPS, *MULTIPLIERS, SEGMENT_BITS,
    )  # fmt: skip
    return sha256(repr(given).encode()).hexdigest()[:16]


# start and slope of a segment side by side, read with one load
NORMAL_PAIRS = np.stack(normal_table(), axis=1).copy().view(np.uint64).ravel()


@njit(inline="always")
def _round(c0, c1, c2, c3, low, high):
    product0, product1 = c0 * _M0, c2 * _M1
    return (
        (product1 >> _SHIFT_32) ^ c1 ^ low,
        product1 & _LOW_32,
        (product0 >> _SHIFT_32) ^ c3 ^ high,
        product0 & _LOW_32,
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_words(key, tile, n_pixels, words):
    """Words of the first n_pixels pixels of a tile; key int64, words uint32 (1024,)."""
    low, high = np.uint64(key) & _LOW_32, np.uint64(key) >> _SHIFT_32
    for block in range((n_pixels + BLOCK - 1) // BLOCK):
        first = np.uint64(tile * (TILE // BLOCK) + block) * _N_COUNTERS
        start, above = first & _LOW_32, first >> _SHIFT_32  # `above` is the same for the 64 counters of a block
        part = words[block * BLOCK : (block + 1) * BLOCK]
        for j in range(COUNTERS):
            c0, c1, c2, c3 = start + np.uint64(j), above, np.uint64(0), np.uint64(0)
            k0, k1 = low, high
            c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
            for _ in range(9):
                k0, k1 = (k0 + _W0) & _LOW_32, (k1 + _W1) & _LOW_32
                c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
            part[j] = np.uint32(c0)
            part[j + COUNTERS] = np.uint32(c1)
            part[j + 2 * COUNTERS] = np.uint32(c2)
            part[j + 3 * COUNTERS] = np.uint32(c3)


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_normals(words, table, segments, fractions, pairs, values):
    """Standard-normal values of words; all (n,), table `NORMAL_PAIRS`, the rest buffers."""
    for j in range(len(words)):
        word = np.int32(words[j])  # negative in the upper half: the complement is the distance from the upper end
        distance = np.int32(word ^ np.int32(word >> _SIGN_BITS))
        bits = np.float32(np.float32(distance) + _HALF).view(np.int32)
        segments[j] = np.uint32((bits >> _FRACTION_BITS) - _FIRST_SEGMENT)
        fractions[j] = np.float32(np.int32(bits & _FRACTION_MASK))
    for j in range(len(words)):
        pairs[j] = table[segments[j]]
    halves = pairs.view(np.float32)
    for j in range(len(words)):
        value = halves[2 * j] + fractions[j] * halves[2 * j + 1]
        values[j] = value if np.int32(words[j]) < 0 else -value


@njit(nogil=True, cache=True, error_model="numpy")
def draw_words(keys, first, last, out):
    """One word per pixel, uint32 (B, P): the bound that the noises are measured against."""
    words = np.empty(TILE, np.uint32)
    n_pixels = out.shape[1]
    n_tiles = (n_pixels + TILE - 1) // TILE
    for unit in range(first, last):
        image, tile = unit // n_tiles, unit % n_tiles
        row = out[image, tile * TILE : min((tile + 1) * TILE, n_pixels)]
        _fill_words(keys[image], tile, len(row), words)
        for j in range(len(row)):
            row[j] = words[j]


@njit(nogil=True, cache=True, error_model="numpy")
def draw_normals(keys, table, first, last, out):
    """One standard-normal number per pixel, float32 (B, P): what a noise needs at least where it is normal."""
    words = np.empty(TILE, np.uint32)
    segments = np.empty(TILE, np.uint32)
    fractions = np.empty(TILE, np.float32)
    pairs = np.empty(TILE, np.uint64)
    n_pixels = out.shape[1]
    n_tiles = (n_pixels + TILE - 1) // TILE
    for unit in range(first, last):
        image, tile = unit // n_tiles, unit % n_tiles
        row = out[image, tile * TILE : min((tile + 1) * TILE, n_pixels)]
        _fill_words(keys[image], tile, len(row), words)
        _fill_normals(words[: len(row)], table, segments, fractions, pairs, row)


@njit(nogil=True, cache=True, error_model="numpy")
def add_gaussian(pixels, keys, table, strength, first, last, out):
    """clip(x + strength z); pixels and out float32 (B, P), strength float32."""
    words = np.empty(TILE, np.uint32)
    segments = np.empty(TILE, np.uint32)
    fractions = np.empty(TILE, np.float32)
    pairs = np.empty(TILE, np.uint64)
    z = np.empty(TILE, np.float32)
    n_pixels = pixels.shape[1]
    n_tiles = (n_pixels + TILE - 1) // TILE
    for unit in range(first, last):
        image, tile = unit // n_tiles, unit % n_tiles
        part = slice(tile * TILE, min((tile + 1) * TILE, n_pixels))
        x, y = pixels[image, part], out[image, part]
        n = len(x)
        _fill_words(keys[image], tile, n, words)
        _fill_normals(words[:n], table, segments, fractions, pairs, z)
        for j in range(n):
            value = z[j] * strength + x[j]
            y[j] = min(max(value, _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def replace_impulses(pixels, keys, n_each, first, last, out):
    """0 for words below n_each, 1 for as many at the top; n_each uint32."""
    words = np.empty(TILE, np.uint32)
    n_pixels = pixels.shape[1]
    n_tiles = (n_pixels + TILE - 1) // TILE
    salt = np.uint32(np.uint32(0xFFFFFFFF) - n_each + np.uint32(1))
    for unit in range(first, last):
        image, tile = unit // n_tiles, unit % n_tiles
        part = slice(tile * TILE, min((tile + 1) * TILE, n_pixels))
        x, y = pixels[image, part], out[image, part]
        _fill_words(keys[image], tile, len(x), words)
        for j in range(len(x)):
            word = words[j]
            kept = x[j] if word >= n_each else _ZERO
            y[j] = _ONE if word >= salt else kept


@njit(nogil=True, cache=True, error_model="numpy")
def count_photons(pixels, keys, normals, table, photons, per_photon, first, last, out):
    """clip(Poisson(x photons) / photons); see `noise.poisson_quantiles`; photons and its inverse float32.

    Most counts come from the table of `photon_table`. Pixels in its unsure cells wait until there are many, and are
    then computed together.
    """
    words = np.empty(TILE, np.uint32)
    means = np.empty(TILE, np.float32)
    cells = np.empty(TILE, np.uint32)
    found = np.empty(TILE, np.uint8)
    unsure = np.empty(TILE + 1, np.uint32)
    waiting_at = np.empty(2 * TILE, np.int64)
    waiting_words = np.empty(2 * TILE, np.uint32)
    waiting_means = np.empty(2 * TILE, np.float32)
    counts = np.empty(2 * TILE, np.float32)
    integers = np.empty((2, 2 * TILE + 1), np.uint32)
    floats = np.empty((3, 2 * TILE), np.float32)
    pairs = np.empty(2 * TILE, np.uint64)
    n_waiting = 0
    n_pixels = pixels.shape[1]
    n_tiles = (n_pixels + TILE - 1) // TILE
    everywhere = out.reshape(out.size)
    for unit in range(first, last):
        image, tile = unit // n_tiles, unit % n_tiles
        part = slice(tile * TILE, min((tile + 1) * TILE, n_pixels))
        x, y = pixels[image, part], out[image, part]
        n = len(x)
        _fill_words(keys[image], tile, n, words)
        if photons > _MOST:  # many means lie beyond the table
            for j in range(n):
                means[j] = x[j] * photons
            _find_counts(means[:n], words[:n], normals, integers, floats, pairs, counts)
            for j in range(n):
                y[j] = min(counts[j] * per_photon, _ONE)
            continue
        n_unsure = _look_up(x, photons, words, table, cells, found, unsure)
        for j in range(n):
            y[j] = min(np.float32(found[j]) * per_photon, _ONE)
        start = image * n_pixels + tile * TILE
        for i in range(n_unsure):
            j = unsure[i]
            waiting_at[n_waiting + i] = start + j
            waiting_words[n_waiting + i] = words[j]
            waiting_means[n_waiting + i] = x[j] * photons
        n_waiting += n_unsure
        if n_waiting > TILE or unit == last - 1:
            _find_counts(waiting_means[:n_waiting], waiting_words[:n_waiting], normals, integers, floats, pairs, counts)
            for i in range(n_waiting):
                everywhere[waiting_at[i]] = min(counts[i] * per_photon, _ONE)
            n_waiting = 0


@njit(nogil=True, cache=True, error_model="numpy")
def _look_up(x, photons, words, table, cells, found, unsure):
    """Counts uint8 of the cells that the means x photons and the words fall into; places and number of the unsure."""
    for j in range(len(x)):
        mean = x[j] * photons
        mean = mean if (mean >= _ZERO) & (mean < _MOST) else _MOST  # what belongs nowhere, too, to the last row
        row = np.int32(np.sqrt(mean) * _ROWS_PER_ROOT)
        cells[j] = np.uint32((row << _COLUMN_BITS) | np.int32(words[j] >> _COLUMN_SHIFT))
    n_unsure = np.uint32(0)
    for j in range(len(x)):
        count = table[cells[j]]
        found[j] = count
        unsure[n_unsure] = np.uint32(j)
        n_unsure = np.uint32(n_unsure + np.uint32(count == _UNSURE))
    return n_unsure


@njit(nogil=True, cache=True, error_model="numpy")
def _find_counts(means, words, normals, integers, floats, pairs, counts):
    """Poisson quantiles of words, float32 (n,); `normals` is `NORMAL_PAIRS`, those after it are buffers."""
    few, segments = integers[0], integers[1]
    z, fractions, few_counts = floats[0], floats[1], floats[2]
    n = len(means)
    n_few = np.uint32(0)
    for j in range(n):
        few[n_few] = np.uint32(j)
        n_few = np.uint32(n_few + np.uint32(means[j] < _FEW))
    if n_few < n:
        _fill_normals(words, normals, segments, fractions, pairs, z)
        _expand_quantiles(means, z, counts)
    if n_few:
        _sum_few(few[:n_few], means, words, z, fractions, pairs, few_counts)
        for i in range(n_few):
            counts[few[i]] = few_counts[i]


@njit(nogil=True, cache=True, error_model="numpy")
def _expand_quantiles(means, z, counts):
    """Poisson quantiles of normal values z by their expansion; all float32 (n,)."""
    for j in range(len(means)):
        squared = z[j] * z[j]
        root = np.sqrt(max(means[j], _FEW))
        inverse = _ONE / root
        correction = ((squared * _A + _B) * squared - _C) * inverse
        squared_2 = squared + _TWO
        correction_2 = (correction - squared_2 * z[j] * _D) * inverse
        counts[j] = max(np.floor(root * z[j] + means[j] + squared_2 * _E + correction_2), _ZERO)


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_few(few, all_means, words, means, quantiles, pairs, counts):
    """Poisson quantiles of the few-photon pixels of a tile by summing; `few` their places, the last four buffers."""
    halves = pairs.view(np.float32)
    half = len(halves) // 2
    probabilities, sums = halves[:half], halves[half:]
    n = len(few)
    for i in range(n):
        means[i] = all_means[few[i]]
        quantiles[i] = np.float32(np.int32(words[few[i]] >> _QUANTILE_BITS))
    below = np.int32(0)
    for i in range(n):
        quantiles[i] = (quantiles[i] + _HALF) * _TO_QUANTILE
        y = means[i] * _EIGHTH
        p = ((((((_T7 * y + _T6) * y + _T5) * y + _T4) * y + _T3) * y + _T2) * y + _T1) * y + _T0
        p = p * p
        p = p * p
        p = p * p
        probabilities[i] = p
        sums[i] = p
        more = quantiles[i] > p
        counts[i] = _ONE if more else _ZERO
        below += np.int32(more)
    k = 1
    while below > 0 and k <= HIGHEST_COUNT:  # four counts at a time: values then stay in registers in between
        share_0, share_1, share_2, share_3 = _SHARES[k], _SHARES[k + 1], _SHARES[k + 2], _SHARES[k + 3]
        for i in range(n):
            mean, quantile, total, p, count = means[i], quantiles[i], sums[i], probabilities[i], counts[i]
            p = p * mean * share_0
            total += p
            count += np.float32(quantile > total)
            p = p * mean * share_1
            total += p
            count += np.float32(quantile > total)
            p = p * mean * share_2
            total += p
            count += np.float32(quantile > total)
            p = p * mean * share_3
            total += p
            probabilities[i] = p
            sums[i] = total
            counts[i] = count + np.float32(quantile > total)
        below = np.int32(0)
        for i in range(n):
            below += np.int32(quantiles[i] > sums[i])
        k += 4
