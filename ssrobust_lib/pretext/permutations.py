"""Permutation sets for jigsaw puzzles: orders of the tiles that differ in as many places as possible.

Enters: the number of tiles, the size of the set, a seed. Leaves: the set, uint8. The greedy choice is algorithm 1 of
Noroozi & Favaro 2016 (to which section 2, 'Self-Supervision' of the paper refers), with the distance sums updated by
the newest member only: O(N n!) for N permutations of n tiles, where recomputing them costs O(N^2 n!).
"""

import math
from functools import lru_cache

import numpy as np

from ssrobust_lib.seeds import rng

MOST_TILES = 9  # 9! = 362,880 candidates; 16! for a 4 x 4 puzzle cannot be listed
OUT_OF_THE_RACE = 2**30  # above every possible number of agreements, which is at most 9 * 9!


def all_permutations(n: int) -> np.ndarray:
    """List the n! permutations of 0 .. n-1 in lexicographic order: uint8 (n!, n)."""
    orders = np.zeros((1, 1), np.uint8)
    for size in range(2, n + 1):
        blocks = [
            np.column_stack([np.full(len(orders), first, np.uint8), orders + (orders >= first)])
            for first in range(size)
        ]
        orders = np.concatenate(blocks).astype(np.uint8, copy=False)
    return orders


@lru_cache(maxsize=8)
def permutation_set(n_tiles: int, count: int, seed: int) -> np.ndarray:
    """Choose `count` permutations greedily, each with the largest summed Hamming distance to those chosen before.

    The first one, and the choice among equally distant ones, depend on `seed` alone. Prefixes agree: the first 100
    of a set of 1,000 are the set of 100.

    Parameters
    ----------
    n_tiles : tiles of the puzzle, 2 to 9.
    count : size of the set, 2 to n_tiles!.
    seed : seed of the random choices.

    Returns
    -------
    uint8 (count, n_tiles), read-only; position i of a row holds the original place of the tile now at place i.

    Raises
    ------
    ValueError
        A count or a number of tiles outside its range.
    """
    if not 2 <= n_tiles <= MOST_TILES:
        raise ValueError(f"a permutation set needs 2 to {MOST_TILES} tiles, got {n_tiles}")
    if not 2 <= count <= math.factorial(n_tiles):
        raise ValueError(
            f"{n_tiles} tiles have {math.factorial(n_tiles):,} orders: a set holds 2 to that many, got {count:,}"
        )
    generator = rng("permutation set", n_tiles, seed)
    candidates = np.ascontiguousarray(generator.permutation(all_permutations(n_tiles)).T)  # (n_tiles, n!)
    agreements = np.zeros(candidates.shape[1], np.int32)  # places in which a candidate agrees with the chosen ones
    chosen = np.empty(count, np.int64)
    for position in range(count):
        # fewest agreements = largest summed distance; the candidates stand in random order, so ties fall at random
        newest = int(agreements.argmin())
        chosen[position] = newest
        for places, place_of_newest in zip(candidates, candidates[:, newest], strict=True):
            agreements += places == place_of_newest
        agreements[newest] = OUT_OF_THE_RACE
    orders = np.ascontiguousarray(candidates[:, chosen].T)  # (count, n_tiles)
    orders.setflags(write=False)
    return orders


def mean_hamming_distance(orders: np.ndarray) -> float:
    """Mean number of places in which two different rows of `orders` (N, n) differ."""
    count = len(orders)
    agreeing_pairs = 0
    for column in orders.T:
        same = np.bincount(column).astype(np.int64)
        agreeing_pairs += int((same * (same - 1) // 2).sum())
    pairs = count * (count - 1) // 2
    return orders.shape[1] - agreeing_pairs / pairs
