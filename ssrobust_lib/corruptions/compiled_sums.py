"""Loops of contrast, brightness, blur and resolution, compiled for the CPU by Numba.

Enters: pixels float32, (B, P) or (B, H, W), and a range of images, pixels or rows. Leaves: `out`, filled there. Order
of operations as in `photometry` and `sharpness` (no fused multiply-add, no reassociation), so the bits are the same.
"""

import numpy as np
from numba import njit

from ssrobust_lib.corruptions.photometry import FIXED_POINT

FIXED_POINT_SEEN = 2.0**24  # see `compiled_noise.CONSTANTS_SEEN`
_FIXED = np.float32(FIXED_POINT)
_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def count_outside(values, first, last):
    """How many of float32 values[first:last] are not in [0, 1]; NaN is not."""
    part = values[first:last]
    found = 0
    for i in range(len(part)):
        found += not ((part[i] >= _ZERO) & (part[i] <= _ONE))
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def add_offset(values, offset, first, last, out):
    """clip(x + offset) for values[first:last]."""
    part, changed = values[first:last], out[first:last]
    for i in range(len(part)):
        changed[i] = min(max(part[i] + offset, _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def shrink_contrast(pixels, kept, removed, first, last, out):
    """clip(x kept + mean removed) for images first to last; kept and removed float32, pixels (B, P)."""
    n_pixels = pixels.shape[1]
    for image in range(first, last):
        total = np.int64(0)
        for j in range(n_pixels):
            total += np.int32(np.rint(pixels[image, j] * _FIXED))
        shift = np.float32(np.float64(total) / (FIXED_POINT * n_pixels)) * removed
        for j in range(n_pixels):
            out[image, j] = min(max(pixels[image, j] * kept + shift, _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def blur_rows(images, weights, first, last, out):
    """Blur along both axes; images and out float32 (B, H, W), weights (radius + 1,), a range of the B x H rows."""
    _, height, width = images.shape
    radius = len(weights) - 1
    padded = np.empty(width + 2 * radius, np.float32)
    row = padded[radius : radius + width]
    done = np.empty(width, np.float32)
    for unit in range(first, last):
        image, i = images[unit // height], unit % height
        _scale(image[i], weights[0], row)
        k = 1
        while k + 3 <= radius:
            a0, b0 = image[max(i - k, 0)], image[min(i + k, height - 1)]
            a1, b1 = image[max(i - k - 1, 0)], image[min(i + k + 1, height - 1)]
            a2, b2 = image[max(i - k - 2, 0)], image[min(i + k + 2, height - 1)]
            a3, b3 = image[max(i - k - 3, 0)], image[min(i + k + 3, height - 1)]
            _add_four_pairs(a0, b0, a1, b1, a2, b2, a3, b3, weights[k : k + 4], row)
            k += 4
        while k <= radius:
            _add_pair(image[max(i - k, 0)], image[min(i + k, height - 1)], weights[k], row)
            k += 1
        padded[:radius] = row[0]
        padded[radius + width :] = row[width - 1]
        _scale(row, weights[0], done)
        k = 1
        while k + 3 <= radius:
            a0, b0 = padded[radius - k :], padded[radius + k :]
            a1, b1 = padded[radius - k - 1 :], padded[radius + k + 1 :]
            a2, b2 = padded[radius - k - 2 :], padded[radius + k + 2 :]
            a3, b3 = padded[radius - k - 3 :], padded[radius + k + 3 :]
            _add_four_pairs(a0, b0, a1, b1, a2, b2, a3, b3, weights[k : k + 4], done)
            k += 4
        while k <= radius:
            _add_pair(padded[radius - k :], padded[radius + k :], weights[k], done)
            k += 1
        _clip(done, out[unit // height, i])


@njit(nogil=True, cache=True, error_model="numpy")
def reduce_and_enlarge(images, down_rows, down_columns, up_columns, up_rows, first, last, out):
    """Area averages down along both axes and up again for images first to last.

    Each of the four axes comes as indices uint32 (T, n) and weights float32 (T, n) of the taps of n outputs.
    """
    _, height, width = images.shape
    n_rows, n_columns = down_rows[0].shape[1], down_columns[0].shape[1]
    summed = np.empty(width, np.float32)
    small = np.empty(n_columns, np.float32)
    wide = np.empty((n_rows, width), np.float32)
    for image in range(first, last):
        for r in range(n_rows):
            _sum_rows(images[image], down_rows, r, summed)
            _sum_taps(summed, down_columns, small)
            _sum_taps(small, up_columns, wide[r])
        for i in range(height):
            _sum_rows(wide, up_rows, i, summed)
            _clip(summed, out[image, i])


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_rows(rows, taps, output, out):
    """Sum of weight x row over the taps of one output, in their order; weights of 0 end the sum."""
    indices, weights = taps
    _scale(rows[indices[0, output]], weights[0, output], out)
    for tap in range(1, len(weights)):
        weight = weights[tap, output]
        if weight == _ZERO:
            break
        row = rows[indices[tap, output]]
        for j in range(len(out)):
            out[j] += row[j] * weight


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_taps(row, taps, out):
    """Sum of weight x pixel over the taps of every output along a row, in their order."""
    indices, weights = taps
    for j in range(len(out)):
        out[j] = row[indices[0, j]] * weights[0, j]
    for tap in range(1, len(weights)):
        for j in range(len(out)):
            out[j] += row[indices[tap, j]] * weights[tap, j]


@njit(nogil=True, cache=True, error_model="numpy")
def _scale(row, weight, out):
    for j in range(len(out)):
        out[j] = row[j] * weight


@njit(nogil=True, cache=True, error_model="numpy")
def _add_pair(a, b, weight, out):
    for j in range(len(out)):
        out[j] += (a[j] + b[j]) * weight


@njit(nogil=True, cache=True, error_model="numpy")
def _add_four_pairs(a0, b0, a1, b1, a2, b2, a3, b3, weights, out):
    """Four pairs after each other, in the order of `_add_pair`, with one read and one write of `out`."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for j in range(len(out)):
        total = out[j] + (a0[j] + b0[j]) * w0
        total = total + (a1[j] + b1[j]) * w1
        total = total + (a2[j] + b2[j]) * w2
        out[j] = total + (a3[j] + b3[j]) * w3


@njit(nogil=True, cache=True, error_model="numpy")
def _clip(row, out):
    for j in range(len(out)):
        out[j] = min(max(row[j], _ZERO), _ONE)
