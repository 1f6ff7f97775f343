"""Images that show the same exposure, though their pixels differ: rescaled, re-encoded, cropped a little, mirrored.

In: small images as the cache holds them, of an evaluation part and of a pool that networks learn from. Out: a table of
pairs. Public sets share sources (RSNA took its radiographs from ChestX-ray14, liver collections share scans), so that
an image may be in a pretext pool under one name and in a test set under another; `content_hash` finds only those that
are equal to the last pixel.

Two steps. (1) Candidates: every evaluation image, in 27 variants (three scales, nine shifts) and mirrored, is
correlated with every image of the pool, both reduced to 12 x 12 pixels and without their coarse shading; the best
eight go on. (2) Each is aligned: the correlation of detail at up to 64 x 64 pixels, maximal over shifts to a tenth of
the side and scales about the candidate's. Two images whose correlation reaches `THRESHOLDS` are reported.

How far to trust it, on real radiographs (1,500 of Kermany, 621 of NIH and 240 of RSNA, each against its whole set; for
other images, ``python -m benchmarks near_duplicates``): no image was matched with another patient's. At 64 pixels the
best correlation of two patients was 0.73 in Kermany, 0.70 in NIH and 0.78 in RSNA, where a patientId names an image and
not a person, so that these may be one. Between RSNA and NIH, which share sources, one pair reached 0.9998 (one image in
both sets) and one 0.82 (by its looks another exposure of the same person). Of 260 copies all were found that were
halved, re-encoded as JPEG of quality 30, mirrored, or cropped by 3 % a side; of those cropped by 5 % a side or unevenly
by up to 8 % at least 97 %; by 8 % on every side one in four. Below 64 pixels less detail is left and the thresholds are
higher, so that most uneven crops are missed.

Of CT scans (OpenKBP, 40 scans against 120) the best match of another patient reached 0.59 at 64 pixels of 4 mm, 0.81 at
48 of 8 mm and 0.86 at 32 of 12 mm, each below its threshold. Of twelve copies each, those that were noisy, or moved by
six pixels and a slice, are found at every size but for a few at 64 pixels; those of which a quarter was cut off, or
that were turned by two degrees, nearly all at 64 pixels and about half below.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd

from ssrobust_lib.datasets.stored_images import StoredImages
from ssrobust_lib.preprocessing import axis_weights

THRESHOLDS = {64: 0.80, 48: 0.90, 32: 0.93}
"""Side in pixels of the compared images -> correlation from which on a pair counts as one exposure, and two scans (by
the median of their slices) as one acquisition."""

COLUMNS = ("query", "pool", "correlation", "mirrored")
CANDIDATES = 8
SLICES_COMPARED = 12
_SCANS_ALIGNED = 5
_COARSE = 12
_SMOOTHING = 2.0  # pixels: standard deviation of the shading that is taken away, at either size
_SCALES = (0.92, 1.0, 1 / 0.92)
_SHIFTS = (-0.04, 0.0, 0.04)
_VARIANTS = tuple(product(_SCALES, _SHIFTS, _SHIFTS))
_FINE = (0.96, 1.0, 1 / 0.96)
_WORTH_ALIGNING = 0.8  # at 32 pixels over shifts alone: copies reach 0.83, nineteen of twenty others do not
_FARTHEST = 0.1  # shift in step 2, fraction of the side
_BLOCK = 64  # images at once: what is aligned with the candidates of one block lies in memory
_FLAT = 1e-3  # standard deviation of what is left of an image without content, such as a slice of air


class Selection:
    """Some images of an array in an order of their own, read from it only where they are asked for.

    Parameters
    ----------
    images : (N, S, S), an array or a memory map.
    positions : int (n,) in [0, N).
    """

    def __init__(self, images: np.ndarray | StoredImages, positions: np.ndarray) -> None:
        self._images, self._positions = images, np.asarray(positions, dtype=np.int64)
        self.shape: tuple[int, ...] = (len(self._positions), *images.shape[1:])

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        return self._images[self._positions[key]]

    def release(self) -> None:
        """Let go of what was read, where the images are mapped files (see `StoredImages.release`)."""
        if isinstance(self._images, StoredImages):
            self._images.release()


Images = np.ndarray | StoredImages | Selection


def work_side(side: int) -> int:
    """Side at which images of a given side are compared: the largest of `THRESHOLDS` that does not enlarge them.

    Raises
    ------
    ValueError
        For images of fewer than 32 pixels.
    """
    fitting = [known for known in THRESHOLDS if known <= side]
    if not fitting:
        raise ValueError(f"near-duplicates need images of at least {min(THRESHOLDS)} pixels, got {side}")
    return max(fitting)


def find_near_duplicates(
    queries: Images,
    pool: Images,
    query_groups: Sequence[int] | np.ndarray,
    pool_groups: Sequence[int] | np.ndarray,
) -> pd.DataFrame:
    """Find pairs of a query and a pool image that show one exposure, the queries as they are or mirrored.

    Parameters
    ----------
    queries, pool : float (N, S, S) and (M, S, S) in [0, 1]: arrays, memory maps or a `Selection`; read in blocks.
    query_groups, pool_groups : int (N,) and (M,); images of one group (a patient, or identical pixels) are known to
        belong together and are not compared.

    Returns
    -------
    DataFrame with `COLUMNS`, sorted: positions int64 in `queries` and `pool`, correlation float64, mirrored bool. Of
    each query the best `CANDIDATES` can be in it.

    Raises
    ------
    ValueError
        Images that are not square and of one size, or groups of another length.
    """
    query_groups, pool_groups = np.asarray(query_groups), np.asarray(pool_groups)
    _check(queries, query_groups, "queries")
    _check(pool, pool_groups, "pool")
    empty = pd.DataFrame({"query": [], "pool": [], "correlation": [], "mirrored": []})
    types = {"query": np.int64, "pool": np.int64, "correlation": np.float64, "mirrored": bool}
    if not len(queries) or not len(pool):
        return empty.astype(types)
    if queries.shape[1:] != pool.shape[1:]:
        raise ValueError(f"expected images of one size, got {queries.shape[1:]} and {pool.shape[1:]}")
    side = work_side(queries.shape[1])
    coarse = np.concatenate([_detail_vectors(_resized(block, _COARSE)) for _, block in _blocks(pool)])
    found = []
    for start, block in _blocks(queries):
        for mirror in (False, True):
            images = np.ascontiguousarray(block[:, :, ::-1]) if mirror else block
            same = query_groups[start : start + len(block), None] == pool_groups[None]
            query, candidate, variant = _candidates(images, coarse, same)
            pairs = (query, candidate, variant)
            worth = _aligned(images, pool, *pairs, min(THRESHOLDS), fine=(1.0,)) >= _WORTH_ALIGNING
            query, candidate, variant = (part[worth] for part in pairs)
            correlation = _aligned(images, pool, query, candidate, variant, side)
            near = correlation >= THRESHOLDS[side]
            rows = {"query": query[near] + start, "pool": candidate[near], "correlation": correlation[near]}
            found.append(pd.DataFrame(rows).assign(mirrored=mirror))
        if isinstance(pool, (StoredImages, Selection)):
            pool.release()
    table = pd.concat([empty.astype(types), *[part.astype(types) for part in found if len(part)]], ignore_index=True)
    best = table.sort_values("correlation", ascending=False, kind="stable").drop_duplicates(["query", "pool"])
    return best.sort_values(["query", "pool"], ignore_index=True)


def _check(images: Images, groups: np.ndarray, name: str) -> None:
    if len(images.shape) != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"{name}: expected square images (n, S, S), got shape {images.shape}")
    if groups.shape != (len(images),):
        raise ValueError(f"{name}: expected one group for each of {len(images)} images, got shape {groups.shape}")


def _blocks(images: Images) -> Iterator[tuple[int, np.ndarray]]:
    """Position of the first image and float32 (n, S, S) of each block, 64 MB at most."""
    size = min(_BLOCK, max(1, 2**24 // images.shape[1] ** 2))
    for start in range(0, len(images), size):
        yield start, np.asarray(images[start : start + size], dtype=np.float32)
        if isinstance(images, (StoredImages, Selection)):
            images.release()  # pages of a mapped file count as this process's memory: a whole pool's would add up


@cache
def _axis(n_in: int, n_out: int, scale: float, shift: float) -> np.ndarray:
    """float32 (n_out, n_in): resamples the middle `scale` of an axis, moved by `shift` of its length."""
    step = n_in * scale / n_out
    first = (n_in - n_in * scale) / 2 + shift * n_in
    return axis_weights(n_in, n_out, first + (step - 1) / 2, step, True).toarray().astype(np.float32)


@cache
def _shading(n: int) -> np.ndarray:
    """float32 (n, n): Gaussian smoothing of an axis, each output a mean of the pixels that are there."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    weights = np.exp(-(distance**2) / (2 * _SMOOTHING**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _resized(
    images: np.ndarray, side: int, scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """float32 (n, side, side): the middle `scale` of each axis (row, column), moved by `shift` of the side."""
    rows = _axis(images.shape[1], side, scale[0], shift[0])
    columns = _axis(images.shape[2], side, scale[1], shift[1])
    return rows @ images @ columns.T


def _reduced(images: np.ndarray | StoredImages, rows: np.ndarray, side: int) -> np.ndarray:
    """Some images at another size, float32 (n, side, side)."""
    return np.concatenate([_resized(block, side) for _, block in _blocks(Selection(images, rows))])


def _detail(images: np.ndarray) -> np.ndarray:
    """What is left of float32 (n, S, S) without its coarse shading; mean 0."""
    shading = _shading(images.shape[1])
    left = images - shading @ images @ shading.T
    return left - left.mean(axis=(1, 2), keepdims=True)


def _unit(values: np.ndarray) -> np.ndarray:
    """Scale each image to norm 1; one without content becomes 0 and correlates with nothing."""
    norms = np.sqrt(np.square(values).sum(axis=(1, 2), keepdims=True))
    flat = norms < _FLAT * values.shape[1]
    return np.where(flat, 0, values / np.where(flat, 1, norms)).astype(np.float32)


def _detail_vectors(images: np.ndarray) -> np.ndarray:
    """float32 (n, S * S) of norm 1 (or 0): their products are correlations."""
    return _unit(_detail(images)).reshape(len(images), -1)  # (n, S, S) -> (n, S * S)


def _candidates(
    images: np.ndarray, coarse: np.ndarray, same: np.ndarray, n_candidates: int = CANDIDATES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step 1: (query, pool image, variant), int64 (k,) each, of the best matches that are not in one group."""
    best = np.full(same.shape, -2, np.float32)
    variant = np.zeros(same.shape, np.int8)
    for number, (scale, row, column) in enumerate(_VARIANTS):
        correlation = _detail_vectors(_resized(images, _COARSE, (scale, scale), (row, column))) @ coarse.T
        better = correlation > best
        np.copyto(best, correlation, where=better)
        variant[better] = number
    best[same] = -2
    n = min(n_candidates, len(coarse))
    top = np.argpartition(-best, n - 1, axis=1)[:, :n]
    query = np.repeat(np.arange(len(images)), n)
    candidate = top.reshape(-1)  # (queries, n) -> (queries * n,)
    kept = best[query, candidate] > 0
    query, candidate = query[kept], candidate[kept]
    return query, candidate, variant[query, candidate].astype(np.int64)


def _aligned(
    images: np.ndarray,
    pool: Images,
    query: np.ndarray,
    candidate: np.ndarray,
    variant: np.ndarray,
    side: int,
    fine: tuple[float, ...] = _FINE,
) -> np.ndarray:
    """Step 2: largest correlation of each pair over shifts and scales about its variant's, float64 (k,)."""
    best = np.full(len(query), -1.0)
    ramp = np.sin(np.pi * (np.arange(side) + 1) / (side + 1))  # borders, where only one image may reach, weigh less
    window = np.outer(ramp, ramp).astype(np.float32)
    near = round(_FARTHEST * side)
    shifts = np.r_[0 : near + 1, side - near : side]

    def spectrum(parts: np.ndarray) -> np.ndarray:
        detail = _detail(parts) * window
        return np.fft.rfft2(_unit(detail - detail.mean(axis=(1, 2), keepdims=True)))

    scales = np.array([scale for scale, _, _ in _VARIANTS])[variant]
    for scale in _SCALES:
        of_scale = np.flatnonzero(scales == scale)
        for start in range(0, len(of_scale), _BLOCK):
            chosen = of_scale[start : start + _BLOCK]
            there, back = np.unique(candidate[chosen], return_inverse=True)  # each is read once, in order
            others = spectrum(_resized(np.asarray(pool[there], dtype=np.float32), side))[back]
            mine, turn = np.unique(query[chosen], return_inverse=True)
            for row, column in product(fine, fine):
                own = spectrum(_resized(images[mine], side, (scale * row, scale * column)))[turn]
                correlation = np.fft.irfft2(own.conj() * others, s=(side, side))
                highest = correlation[:, shifts][:, :, shifts].max(axis=(1, 2))
                best[chosen] = np.maximum(best[chosen], highest)
    return best


def find_near_duplicate_scans(
    slices: np.ndarray | StoredImages,
    scans: Sequence[str] | np.ndarray,
    queries: Sequence[str],
    pool: Sequence[str],
    groups: Mapping[str, int],
) -> pd.DataFrame:
    """Find CT scans that show one acquisition, though resampled, moved, cropped or stored anew.

    Of each query scan `SLICES_COMPARED` slices vote for pool scans by their coarse correlation; for the five with most
    votes every slice is aligned with the three slices of the pool scan that lie where the votes say.

    Parameters
    ----------
    slices : float (N, S, S) in [0, 1], all scans on one pixel size and slice distance; an array or a memory map.
    scans : (N,) name of each slice's scan; a scan's slices stand together, from inferior to superior.
    queries, pool : names of the scans to compare.
    groups : name -> group; scans of one group are not compared.

    Returns
    -------
    DataFrame: query, pool (names), correlation float64; sorted by query and pool.

    Raises
    ------
    ValueError
        Slices that are not square or too small, or scans of another length.
    """
    names = np.asarray(scans)
    _check(slices, names, "slices")
    side = work_side(slices.shape[1])
    first = {name: int(np.argmax(names == name)) for name in dict.fromkeys([*queries, *pool])}
    count = pd.Series(names).value_counts()
    rows = {name: np.arange(first[name], first[name] + int(count[name])) for name in first}
    coarse = [_detail_vectors(_reduced(slices, rows[name], _COARSE)) for name in pool]
    if not queries or not coarse:
        return pd.DataFrame({"query": [], "pool": [], "correlation": []}).astype({"correlation": np.float64})
    stacked = np.concatenate(coarse)
    owner = np.repeat(np.arange(len(pool)), [len(part) for part in coarse])
    height = np.concatenate([np.arange(len(part)) for part in coarse])
    pool_groups = np.array([groups[name] for name in pool])
    found = []
    for name in queries:
        chosen = _telling_slices(slices, rows[name])
        images = np.asarray(slices[chosen], np.float32)
        same = np.broadcast_to(pool_groups[owner] == groups[name], (len(chosen), len(owner)))
        query, candidate, _ = _candidates(images, stacked, same, n_candidates=CANDIDATES * 4)
        votes = pd.DataFrame({"scan": owner[candidate], "slice": query})
        votes["offset"] = height[candidate] - (chosen[query] - first[name])
        for scan in votes.groupby("scan")["slice"].nunique().nlargest(_SCANS_ALIGNED).index:
            offset = round(votes.loc[votes["scan"] == scan, "offset"].median())
            correlation = _aligned_scans(slices, chosen, first[name], rows[pool[scan]], offset, side)
            if correlation >= THRESHOLDS[side]:
                found.append((name, pool[scan], correlation))
    table = pd.DataFrame(found, columns=["query", "pool", "correlation"]).astype({"correlation": np.float64})
    return table.sort_values(["query", "pool"], ignore_index=True)


def _telling_slices(slices: np.ndarray | StoredImages, rows: np.ndarray) -> np.ndarray:
    """Positions of `SLICES_COMPARED` slices of a scan, evenly spread over the half that holds most detail."""
    detail = _detail(_reduced(slices, rows, min(THRESHOLDS))).std(axis=(1, 2))
    rich = rows[detail >= np.median(detail)]
    return rich[np.unique(np.linspace(0, len(rich) - 1, min(SLICES_COMPARED, len(rich))).round().astype(int))]


def _aligned_scans(
    slices: np.ndarray | StoredImages, chosen: np.ndarray, first: int, rows: np.ndarray, offset: int, side: int
) -> float:
    """Median over a scan's chosen slices of the best correlation with the pool scan's slices about the offset."""
    images, n = np.asarray(slices[chosen], np.float32), len(rows)
    heights = chosen - first + offset
    query = np.repeat(np.arange(len(chosen)), 3)
    beside = np.clip((heights[:, None] + [-1, 0, 1]).reshape(-1), 0, n - 1)  # (slices, 3) -> (slices * 3,)
    still = np.full(len(query), _VARIANTS.index((1.0, 0.0, 0.0)))
    correlation = _aligned(images, slices, query, rows[beside], still, side, fine=(1.0,))
    return float(np.median(correlation.reshape(-1, 3).max(axis=1)))
