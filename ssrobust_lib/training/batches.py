"""Which images form which batch, and their way from the stored arrays to the network.

Enters: row numbers, stored images (float16 memory maps, a few sorted reads per batch) and a random generator. Leaves:
lists of row numbers, and float32 tensors in the network's input scale. The order of the batches depends on nothing but
the generator, so that all arms of a seed meet the same images in the same batches (paper, section 3.1).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch


def steps_in_epoch(n_rows: int, batch_size: int, steps_per_epoch: int | None = None) -> int:
    """Number of batches in an epoch: as asked, or as many as one pass over the rows takes."""
    return steps_per_epoch or -(-n_rows // batch_size)


def epoch_batches(
    rows: npt.NDArray[np.int64], batch_size: int, generator: np.random.Generator, steps_per_epoch: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Deal the rows of one epoch into batches.

    Without `steps_per_epoch` an epoch is one pass in random order, cut into batches whose sizes differ by one at the
    most, none above `batch_size`: no image is left out and no batch is a small remainder. With it, random passes
    follow one another until that many full batches are dealt; a batch is never larger than the set.

    Parameters
    ----------
    rows : int (n,), n >= 1, row numbers of the images.
    batch_size : largest size of a batch, >= 1.
    generator : source of the order.
    steps_per_epoch : number of batches, or None.

    Returns
    -------
    list of int arrays.

    Raises
    ------
    ValueError
        There is no row.
    """
    rows = np.asarray(rows)
    if rows.size == 0:
        raise ValueError("expected at least one image to train on, got none: check the split and the label fraction")
    if steps_per_epoch is None:
        return np.array_split(generator.permutation(rows), steps_in_epoch(rows.size, batch_size))
    size = min(batch_size, rows.size)
    passes = -(-steps_per_epoch * size // rows.size)
    order = np.concatenate([generator.permutation(rows) for _ in range(passes)])
    return list(order[: steps_per_epoch * size].reshape(steps_per_epoch, size))


def blocks(rows: npt.NDArray[np.int64], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Cut rows into consecutive blocks of at most `batch_size`, in their order."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def read_images(
    images: npt.NDArray[np.floating],
    rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Read images and bring them to the network's input scale, (image - mean) / standard deviation.

    Parameters
    ----------
    images : float16 or float32 (N, H, W) in [0, 1], an array or a memory map.
    rows : int (B,), which of them.
    normalise : mean and standard deviation of the training images, the latter positive.
    device : where the tensor goes; it is converted there.

    Returns
    -------
    float32 (B, 1, H, W), channels last.
    """
    mean, std = normalise
    block = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)  # (B, H, W)
    batch = block.to(torch.float32, copy=True).sub_(mean).div_(std)
    return batch[:, None].contiguous(memory_format=torch.channels_last)  # (B, 1, H, W)


def read_masks(
    masks: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Read label images: uint8 (N, H, W) to int64 (B, H, W) on `device`."""
    return torch.from_numpy(np.ascontiguousarray(masks[rows])).to(device).long()
