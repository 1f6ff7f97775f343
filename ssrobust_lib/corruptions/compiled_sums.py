"""Loops of contrast, brightness, blur and resolution, compiled for the CPU by Numba.

Enters: pixels float32, (B, P) or (B, H, W), and a range of images, pixels or rows. Leaves: `out`, filled there. Order of
operations as in `photometry` and `sharpness` (no fused multiply-add, no reassociation), so the bits are the same.
"""

import numpy as np
from numba import njit

from ssrobust_lib.corruptions.photometry import FIXED_POINT

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
        image, i = unit // height, unit % height
        centre = images[image, i]
        for j in range(width):
            row[j] = centre[j] * weights[0]
        for k in range(1, radius + 1):
            above, below = images[image, max(i - k, 0)], images[image, min(i + k, height - 1)]
            weight = weights[k]
            for j in range(width):
                row[j] += (above[j] + below[j]) * weight
        padded[:radius] = row[0]
        padded[radius + width :] = row[width - 1]
        for j in range(width):
            done[j] = row[j] * weights[0]
        for k in range(1, radius + 1):
            left, right = padded[radius - k : radius - k + width], padded[radius + k : radius + k + width]
            weight = weights[k]
            for j in range(width):
                done[j] += (left[j] + right[j]) * weight
        for j in range(width):
            out[image, i, j] = min(max(done[j], _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def reduce_and_enlarge(images, down_rows, down_columns, up_columns, up_rows, first, last, out):
    """Area averages down along both axes and up again for images first to last; each axis as (first, weights)."""
    _, height, width = images.shape
    n_rows, n_columns = len(down_rows[0]), len(down_columns[0])
    summed = np.empty(width, np.float32)
    small = np.empty(n_columns, np.float32)
    wide = np.empty((n_rows, width), np.float32)
    for image in range(first, last):
        for r in range(n_rows):
            start = down_rows[0][r]
            _weighted_sum(images[image], start, down_rows[1][r], summed)
            for c in range(n_columns):
                start = down_columns[0][c]
                value = down_columns[1][c, 0] * summed[start]
                for tap in range(1, down_columns[1].shape[1]):
                    value += down_columns[1][c, tap] * summed[min(start + tap, width - 1)]
                small[c] = value
            for j in range(width):
                start = up_columns[0][j]
                value = up_columns[1][j, 0] * small[start]
                for tap in range(1, up_columns[1].shape[1]):
                    value += up_columns[1][j, tap] * small[min(start + tap, n_columns - 1)]
                wide[r, j] = value
        for i in range(height):
            row = out[image, i]
            _weighted_sum(wide, up_rows[0][i], up_rows[1][i], row)
            for j in range(width):
                row[j] = min(max(row[j], _ZERO), _ONE)


@njit(nogil=True, cache=True, error_model="numpy")
def _weighted_sum(rows, start, weights, out):
    """Sum of weights[t] * rows[start + t] into out, in this order; weights of 0 end the sum."""
    source = rows[start]
    weight = weights[0]
    for j in range(len(out)):
        out[j] = source[j] * weight
    for tap in range(1, len(weights)):
        weight = weights[tap]
        if weight == _ZERO:
            break
        source = rows[start + tap]
        for j in range(len(out)):
            out[j] += source[j] * weight
