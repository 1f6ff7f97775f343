"""Jigsaw puzzles (Noroozi & Favaro 2016), the paper's pretext task (section 2, 'Self-Supervision', JigsawNet).

Enters: images float32 (B, C, H, W). Leaves: nine shuffled tiles per image and the index of the order that was applied;
a network that recognises the order: one trunk shared by all tiles, their features concatenated, two linear layers.

Against solving the puzzle without looking at the anatomy, as in the original work: a random gap between neighbouring
tiles (so that edges cannot be matched), a random position of the whole puzzle, and every tile normalised by its own
mean and standard deviation. Medical images offer further shortcuts (collimation borders, burnt-in markers, vignetting,
the table): `border_fraction` cuts the outer frame of the image away.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ssrobust_lib.networks.registry import initialise
from ssrobust_lib.pretext.permutations import permutation_set
from ssrobust_lib.pretext.task import PRETEXT_TASKS, PretextTask

SMALLEST_TILE = 8  # pixels; below it a tile shows no structure to recognise
# variance added before the root: a tile of air becomes zero, and its rounding noise (about 1e-4) stays small
VARIANCE_FLOOR = 1e-6


@dataclass(frozen=True)
class JigsawOptions:
    """Options of the jigsaw task; the default ratios are those of Noroozi & Favaro (256, 225, 75 and 64 pixels).

    Attributes
    ----------
    grid : tiles per side, 2 or 3.
    permutations : size N of the set of orders; chance is 1/N.
    crop_fraction : side of the puzzle over the side of the image (without its border), in (0, 1].
    tile_fraction : side of a tile over the side of its cell, in (0, 1]; the rest is the random gap.
    border_fraction : fraction of the image's side that is cut off on every side first, in [0, 0.4].
    per_tile_normalisation : give every tile mean 0 and standard deviation 1.
    hidden : units between the concatenated features and the N orders.
    permutation_seed : seed of the set of orders.
    """

    grid: int = 3
    permutations: int = 100
    crop_fraction: float = 225 / 256
    tile_fraction: float = 64 / 75
    border_fraction: float = 0.0
    per_tile_normalisation: bool = True
    hidden: int = 512
    permutation_seed: int = 0

    def __post_init__(self) -> None:
        if self.grid not in (2, 3):
            raise ValueError(f"a jigsaw grid of 2 or 3 tiles per side is possible, got grid={self.grid}")
        for name in ("crop_fraction", "tile_fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"the jigsaw's {name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.border_fraction <= 0.4:
            raise ValueError(f"the jigsaw's border_fraction must lie in [0, 0.4], got {self.border_fraction}")
        if self.hidden < 1:
            raise ValueError(f"the jigsaw's hidden layer needs at least one unit, got hidden={self.hidden}")
        orders_of(self)  # refuses a number of permutations that the grid does not have


class JigsawNetwork(nn.Module):
    """A trunk shared by the tiles, and a head on their concatenated features.

    The head is linear - ReLU - linear with `hidden` units: the original's 4,096-unit layer at the scale of these
    trunks, without its dropout.
    """

    def __init__(self, encoder: Any, options: JigsawOptions) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(options.grid**2 * encoder.out_channels, options.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(options.hidden, options.permutations),
        )

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Map tiles float32 (B, grid^2, C, h, w) to logits float32 (B, permutations)."""
        images = tiles.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * grid^2, C, h, w)
        features = self.encoder.features(images)  # (B * grid^2, out_channels)
        return self.head(features.reshape(tiles.shape[0], -1))  # (B, grid^2 * out_channels) -> (B, permutations)


@dataclass(frozen=True)
class Puzzles:
    """Example puzzles for a figure.

    Attributes
    ----------
    tiles : float32 (n, grid^2, h, w) in [0, 1], in the shuffled order in which the network sees them.
    truth : int64 (n, grid^2), truth[k, i] = place (row by row) in the image from which tile i of puzzle k was cut.
    predicted : int64 (n, grid^2), the same for the order that the network recognised.
    """

    tiles: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


def orders_of(options: JigsawOptions) -> np.ndarray:
    """Give the set of orders of these options: uint8 (permutations, grid^2)."""
    return permutation_set(options.grid**2, options.permutations, options.permutation_seed)


def build(encoder: nn.Module, options: JigsawOptions, generator: torch.Generator) -> JigsawNetwork:
    """Put a jigsaw head with weights from `generator` on an encoder, whose weights stay as they are."""
    with torch.device("meta"):
        network = JigsawNetwork(encoder, options)
    network.head.to_empty(device="cpu")
    initialise(network.head, generator)
    return network


def tile_size(height: int, width: int, options: JigsawOptions) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes in pixels, (rows, columns) of a cell and of a tile, for images of this size.

    Raises
    ------
    ValueError
        The tiles would be smaller than 8 pixels.
    """
    inner = [side - 2 * round(side * options.border_fraction) for side in (height, width)]
    rows, columns = (int(side * options.crop_fraction) // options.grid for side in inner)
    cell = (rows, columns)
    tile = (round(rows * options.tile_fraction), round(columns * options.tile_fraction))
    if min(tile) < SMALLEST_TILE:
        raise ValueError(
            f"images of {height} x {width} pixels give {options.grid} x {options.grid} jigsaw tiles of "
            f"{tile[0]} x {tile[1]} pixels; below {SMALLEST_TILE} x {SMALLEST_TILE} a tile shows nothing to recognise: "
            "use larger images, or a larger crop_fraction or tile_fraction"
        )
    return cell, tile


def cut_tiles(images: torch.Tensor, options: JigsawOptions, generator: torch.Generator) -> torch.Tensor:
    """Cut the tiles of one puzzle per image, in the right order (row by row).

    Parameters
    ----------
    images : float (B, C, H, W), any scale.
    options : the jigsaw's options.
    generator : CPU generator; draws the puzzle's place in the image and each tile's place in its cell.

    Returns
    -------
    same dtype and device as images, (B, grid^2, C, h, w).
    """
    count, channels, height, width = images.shape
    cell, tile = tile_size(height, width, options)
    index = []
    for side, cell_side, tile_side, axis in ((height, cell[0], tile[0], 0), (width, cell[1], tile[1], 1)):
        border = round(side * options.border_fraction)
        room = side - 2 * border - options.grid * cell_side
        place = torch.randint(room + 1, (count, 1), generator=generator)  # of the puzzle in the image
        gap = torch.randint(cell_side - tile_side + 1, (count, options.grid**2), generator=generator)
        step = torch.arange(options.grid**2)
        cell_number = step // options.grid if axis == 0 else step % options.grid
        start = border + place + cell_number * cell_side + gap  # (B, grid^2)
        index.append(start[:, :, None] + torch.arange(tile_side))  # (B, grid^2, tile_side)
    rows, columns = index
    pixel = rows[..., :, None] * width + columns[..., None, :]  # (B, grid^2, h, w): place in a flattened image
    flat = images.reshape(count, channels, height * width)
    chosen = pixel.reshape(count, 1, -1).expand(-1, channels, -1).to(images.device)  # (B, C, grid^2 * h * w)
    tiles = flat.gather(2, chosen).reshape(count, channels, options.grid**2, *tile)  # (B, C, grid^2, h, w)
    return tiles.transpose(1, 2)  # (B, grid^2, C, h, w)


def normalise_tiles(tiles: torch.Tensor) -> torch.Tensor:
    """Give every tile of (B, T, C, h, w) mean 0 and standard deviation 1; a constant tile becomes zero."""
    variance, mean = torch.var_mean(tiles, dim=(2, 3, 4), keepdim=True, correction=0)
    return (tiles - mean) * torch.rsqrt(variance + VARIANCE_FLOOR)


def shuffle(tiles: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Reorder tiles (B, T, ...): place i of image b gets the tile from place orders[b, i]; orders int64 (B, T)."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], orders.to(tiles.device)]


def make_batch(
    images: torch.Tensor, options: JigsawOptions, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one puzzle of every image.

    Parameters
    ----------
    images : float32 (B, C, H, W), network input scale.
    options : the jigsaw's options.
    generator : CPU generator, source of every random choice.

    Returns
    -------
    tiles : float32 (B, grid^2, C, h, w), shuffled, normalised one by one if the options say so.
    targets : int64 (B,) in 0 .. permutations-1, on the images' device.

    Raises
    ------
    ValueError
        The images are too small for the grid.
    """
    tiles, targets = _puzzles(images, options, generator)
    return (normalise_tiles(tiles) if options.per_tile_normalisation else tiles), targets.to(images.device)


def _puzzles(
    images: torch.Tensor, options: JigsawOptions, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    tiles = cut_tiles(images, options, generator)
    targets = torch.randint(options.permutations, (len(images),), generator=generator)
    orders = torch.from_numpy(orders_of(options).astype(np.int64))
    return shuffle(tiles, orders[targets]), targets


def chance(options: JigsawOptions) -> float:
    """Accuracy of guessing: one over the number of orders."""
    return 1 / options.permutations


@torch.inference_mode()
def example_puzzles(
    network: nn.Module,
    images: torch.Tensor,
    normalise: tuple[float, float],
    options: JigsawOptions,
    generator: torch.Generator,
) -> Puzzles:
    """Let a trained network solve one puzzle per image, for a figure.

    Parameters
    ----------
    network : a `JigsawNetwork` on the CPU; it is set to evaluation mode.
    images : float32 (n, 1, H, W) in [0, 1].
    normalise : mean and standard deviation that take images to the network's input scale.
    options, generator : as for `make_batch`.
    """
    shuffled, targets = _puzzles(images, options, generator)
    tiles = (shuffled - normalise[0]) / normalise[1]
    network.eval()
    prediction = network(normalise_tiles(tiles) if options.per_tile_normalisation else tiles).argmax(dim=1)
    orders = orders_of(options).astype(np.int64)
    return Puzzles(shuffled[:, :, 0].numpy(), orders[targets.numpy()], orders[prediction.numpy()])


PRETEXT_TASKS.register("jigsaw")(
    PretextTask(
        name="jigsaw",
        title="Jigsaw puzzles",
        options_class=JigsawOptions,
        build=build,
        make_batch=make_batch,
        chance=chance,
        examples=example_puzzles,
    )
)
