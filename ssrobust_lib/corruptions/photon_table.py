"""Guide table of shot noise: counts of photons that can be told from the leading digits of a mean and a random word.

Enters: nothing. Leaves: a table of bytes over cells of (mean, word). In most cells every mean and word has the same
count, and the cell holds it; the others hold `UNSURE` and send the pixel to the computation of `noise`. So the table
changes no count. It follows the guide tables for the inversion of discrete laws (Chen and Asau 1974, 'On generating
random variates from an empirical distribution'), with the mean as a second axis.

Rows are stretches of the square root of the mean, as the law's width is: a row then holds a fixed share of a standard
deviation. Where it is d photons wide, a step of the distribution function passes through a fraction d of its words, and
through one more cell for each count that is at all likely.
"""

from functools import lru_cache

import numpy as np

from ssrobust_lib.corruptions.noise import FEW_PHOTONS, HIGHEST_COUNT

MOST_PHOTONS = 64  # expected counts from here on are in no cell
ROWS_PER_ROOT = 128
COLUMN_BITS = 9  # leading digits of the word
UNSURE = 255

# far above what float32 loses on the way to a count, far below the width of a cell
_QUANTILE_GUARD = 2e-5
_COUNT_GUARD = 5e-4


@lru_cache(maxsize=1)
def count_table() -> np.ndarray:
    """Count of every cell, or `UNSURE`: uint8 (rows * columns,), one row after the other.

    A mean m and a word w meet in row floor(sqrt(m) `ROWS_PER_ROOT`), column w / 2**(32 - `COLUMN_BITS`). The last row
    is for means from `MOST_PHOTONS` on and is unsure throughout.

    Counts grow with the mean and with the word, so a cell whose lowest and highest corner agree is sure. Below
    `FEW_PHOTONS` this is a property of the Poisson law. Above, it holds for the expansion within three standard
    deviations of the mean; the first and last column, which reach further, are unsure.
    """
    edges = (np.arange(round(MOST_PHOTONS**0.5) * ROWS_PER_ROOT + 1) / ROWS_PER_ROOT) ** 2
    quantiles = np.arange(2**COLUMN_BITS + 1) / 2**COLUMN_BITS
    n_few = int(np.searchsorted(edges, FEW_PHOTONS))  # the edge at which the expansion begins
    table = np.full((len(edges), 2**COLUMN_BITS), UNSURE, np.uint8)
    for rows, corners in (
        (slice(0, n_few), _few_photons(edges[: n_few + 1], quantiles)),
        (slice(n_few, len(edges) - 1), _many_photons(edges[n_few:], quantiles)),
    ):
        lowest, highest = corners
        table[rows] = np.where(lowest == highest, lowest, UNSURE)
    return table.ravel()


def _few_photons(edges: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest count of each cell by the distribution function: int (rows, columns) each."""
    from scipy.special import pdtr

    function = pdtr(np.arange(HIGHEST_COUNT + 1), edges[:, None])  # (rows + 1, counts): chance of at most that count
    lowest = [np.searchsorted(row + _QUANTILE_GUARD, quantiles[:-1]) for row in function[:-1]]
    highest = [np.searchsorted(row - _QUANTILE_GUARD, quantiles[1:]) for row in function[1:]]
    return np.array(lowest), np.array(highest)


def _many_photons(edges: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by the expansion of `noise.poisson_quantiles`; in the first and last column they are made to differ."""
    from scipy.special import ndtri

    z = ndtri(quantiles[1:-1])
    root = np.sqrt(edges)[:, None]
    constant, first = (2 + z**2) / 6, -z * (2 + z**2) / 72
    second = -8 / 405 + 7 * z**2 / 810 + z**4 / 270
    expansion = root * z + root**2 + constant + first / root + second / root**2  # (rows + 1, columns - 1)
    lowest = np.floor(np.maximum(expansion[:-1] - _COUNT_GUARD, 0))
    highest = np.floor(np.maximum(expansion[1:] + _COUNT_GUARD, 0))
    return np.pad(lowest, ((0, 0), (1, 0)), constant_values=-1), np.pad(highest, ((0, 0), (0, 1)), constant_values=-2)
