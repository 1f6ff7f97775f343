"""Loops of the three noises, compiled for the CPU by Numba: one read and one write of each pixel.

Enters: pixels float32 (B, P), one key per image, a range of blocks of 256 pixels. Leaves: `out`, filled there. Numbers
and order of operations are those of `streams` and `noise` (no fused multiply-add, no reassociation), so the bits are.
"""

import numpy as np
from numba import njit

from ssrobust_lib.corruptions.noise import EXPONENTIAL, FEW_PHOTONS, HIGHEST_COUNT
from ssrobust_lib.corruptions.streams import BLOCK, COUNTERS, KEY_STEPS, MULTIPLIERS, SEGMENT_BITS, normal_table

_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
_M0, _M1 = (np.uint64(value) for value in MULTIPLIERS)
_W0, _W1 = (np.uint64(value) for value in KEY_STEPS)
_N_COUNTERS = np.uint64(COUNTERS)
_HALF_RANGE = np.uint32(2**31)
_START, _SLOPE = normal_table()
_FRACTION_BITS = np.uint32(23 - SEGMENT_BITS)
_FRACTION_MASK = np.uint32((1 << (23 - SEGMENT_BITS)) - 1)
_FIRST_SEGMENT = np.uint32(126 << SEGMENT_BITS)
_ZERO, _ONE, _HALF, _TWO = (np.float32(value) for value in (0, 1, 0.5, 2))
_FEW = np.float32(FEW_PHOTONS)
_A, _B, _C, _D, _E = (np.float32(value) for value in (1 / 270, 7 / 810, 8 / 405, 1 / 72, 1 / 6))
_EIGHTH = np.float32(-0.125)
_TO_QUANTILE = np.float32(2.0**-23)
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(value) for value in EXPONENTIAL)
_SHARES = np.array([1 / max(k, 1) for k in range(HIGHEST_COUNT + 1)], np.float32)


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
def _fill_words(key, block, words):
    """Words of the 256 pixels of a block; key and block uint64, words uint32 (256,)."""
    low, high = key & _LOW_32, key >> _SHIFT_32
    first = block * _N_COUNTERS  # a multiple of 64: its upper half is the same for the whole block
    start, above = first & _LOW_32, first >> _SHIFT_32
    for j in range(COUNTERS):
        c0, c1, c2, c3 = start + np.uint64(j), above, np.uint64(0), np.uint64(0)
        k0, k1 = low, high
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        for _ in range(9):
            k0, k1 = (k0 + _W0) & _LOW_32, (k1 + _W1) & _LOW_32
            c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        words[j] = np.uint32(c0)
        words[j + 64] = np.uint32(c1)
        words[j + 128] = np.uint32(c2)
        words[j + 192] = np.uint32(c3)


@njit(inline="always")
def _normal(word):
    upper = word >= _HALF_RANGE
    distance = np.int32(~word if upper else word)
    bits = np.float32(np.float32(distance) + _HALF).view(np.uint32)
    segment = (bits >> _FRACTION_BITS) - _FIRST_SEGMENT
    value = _START[segment] + np.float32(np.int32(bits & _FRACTION_MASK)) * _SLOPE[segment]
    return value if upper else -value


@njit(nogil=True, cache=True, error_model="numpy")
def draw_words(keys, first, last, out):
    """One word per pixel, uint32 (B, P): the bound that the noises are measured against."""
    words = np.empty(BLOCK, np.uint32)
    n_pixels = out.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    for unit in range(first, last):
        image, block = unit // n_blocks, unit % n_blocks
        _fill_words(np.uint64(keys[image]), np.uint64(block), words)
        start = block * BLOCK
        for j in range(min(BLOCK, n_pixels - start)):
            out[image, start + j] = words[j]


@njit(nogil=True, cache=True, error_model="numpy")
def add_gaussian(pixels, keys, strength, first, last, out):
    """clip(x + strength z); pixels and out float32 (B, P), strength float32."""
    words = np.empty(BLOCK, np.uint32)
    n_pixels = pixels.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    for unit in range(first, last):
        image, block = unit // n_blocks, unit % n_blocks
        _fill_words(np.uint64(keys[image]), np.uint64(block), words)
        start = block * BLOCK
        for j in range(min(BLOCK, n_pixels - start)):
            value = _normal(words[j]) * strength + pixels[image, start + j]
            out[image, start + j] = min(max(value, _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def replace_impulses(pixels, keys, n_each, first, last, out):
    """0 for words below n_each, 1 for as many at the top; n_each uint32."""
    words = np.empty(BLOCK, np.uint32)
    n_pixels = pixels.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    salt = np.uint32(0xFFFFFFFF) - n_each + np.uint32(1)
    for unit in range(first, last):
        image, block = unit // n_blocks, unit % n_blocks
        _fill_words(np.uint64(keys[image]), np.uint64(block), words)
        start = block * BLOCK
        for j in range(min(BLOCK, n_pixels - start)):
            word = words[j]
            kept = pixels[image, start + j] if word >= n_each else _ZERO
            out[image, start + j] = _ONE if word >= salt else kept


@njit(nogil=True, cache=True, error_model="numpy")
def count_photons(pixels, keys, photons, per_photon, first, last, out):
    """clip(Poisson(x photons) / photons); see `noise.poisson_quantiles`; photons and its inverse float32."""
    words = np.empty(BLOCK, np.uint32)
    means = np.empty(BLOCK, np.float32)
    few = np.empty(BLOCK, np.int32)
    few_means = np.empty(BLOCK, np.float32)
    quantiles = np.empty(BLOCK, np.float32)
    probabilities = np.empty(BLOCK, np.float32)
    sums = np.empty(BLOCK, np.float32)
    counts = np.empty(BLOCK, np.float32)
    n_pixels = pixels.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    for unit in range(first, last):
        image, block = unit // n_blocks, unit % n_blocks
        _fill_words(np.uint64(keys[image]), np.uint64(block), words)
        start = block * BLOCK
        n = min(BLOCK, n_pixels - start)
        for j in range(n):
            mean = pixels[image, start + j] * photons
            means[j] = mean
            z = _normal(words[j])
            squared = z * z
            root = np.sqrt(max(mean, _FEW))
            inverse = _ONE / root
            correction = ((squared * _A + _B) * squared - _C) * inverse
            squared = squared + _TWO
            correction = (correction - squared * z * _D) * inverse
            count = np.floor(root * z + mean + squared * _E + correction)
            out[image, start + j] = min(max(count, _ZERO) * per_photon, _ONE)
        n_few = 0
        for j in range(n):
            few[n_few] = j
            n_few += means[j] < _FEW
        for i in range(n_few):
            few_means[i] = means[few[i]]
            quantiles[i] = np.float32(np.int32(words[few[i]] >> np.uint32(9)))
        below = 0
        for i in range(n_few):
            quantiles[i] = (quantiles[i] + _HALF) * _TO_QUANTILE
            y = few_means[i] * _EIGHTH
            p = ((((((_T7 * y + _T6) * y + _T5) * y + _T4) * y + _T3) * y + _T2) * y + _T1) * y + _T0
            p = p * p
            p = p * p
            p = p * p
            probabilities[i] = p
            sums[i] = p
            more = quantiles[i] > p
            counts[i] = _ONE if more else _ZERO
            below += more
        k = 1
        while below and k <= HIGHEST_COUNT:
            below = 0
            for i in range(n_few):
                probabilities[i] = probabilities[i] * few_means[i] * _SHARES[k]
                sums[i] += probabilities[i]
                more = quantiles[i] > sums[i]
                counts[i] += _ONE if more else _ZERO
                below += more
            k += 1
        for i in range(n_few):
            out[image, start + few[i]] = min(counts[i] * per_photon, _ONE)
