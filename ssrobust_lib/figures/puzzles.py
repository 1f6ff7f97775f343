"""Jigsaw puzzles as the network meets them: shuffled, put together by its answer, and the truth.

Enters: tiles and permutations. Leaves: a figure with one row per puzzle. Section 2 of the paper (Self-Supervision).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.patches import Rectangle

from .canvas import StudyFigure, message_figure, picture, styled
from .sheets import Sheet
from .style import INK, RED


@dataclass(frozen=True)
class Puzzle:
    """One puzzle and the network's answer.

    Attributes
    ----------
    tiles : float (n, h, w) in [0, 1], in the shuffled order in which the network sees them; n is a square number.
    truth : int (n,), truth[i] = cell of the image (row by row from 0) from which tile i was cut.
    predicted : int (n,), the same for the permutation that the network chose.
    title : words beside the row.
    """

    tiles: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    title: str = ""

    @property
    def solved(self) -> bool:
        return bool(np.array_equal(self.truth, self.predicted))


def reassemble(tiles: np.ndarray, cells: np.ndarray, gap: int = 2) -> np.ndarray:
    """Lay tile i into cell cells[i] of a square grid, with white gaps.

    Parameters
    ----------
    tiles : float (n, h, w).
    cells : int (n,), a permutation of 0 .. n - 1.
    gap : pixels between the tiles.

    Returns
    -------
    float (side * h + (side - 1) * gap, side * w + (side - 1) * gap), side = sqrt(n).

    Raises
    ------
    ValueError
        Where n is no square number or `cells` is no permutation.
    """
    n, height, width = tiles.shape
    side = round(n**0.5)
    if side**2 != n:
        raise ValueError(f"expected a square number of tiles (9 for a 3 x 3 puzzle), got {n}")
    if sorted(int(cell) for cell in cells) != list(range(n)):
        raise ValueError(f"expected a permutation of 0 to {n - 1}, got {list(map(int, cells))}")
    whole = np.ones((side * (height + gap) - gap, side * (width + gap) - gap))
    for tile, cell in zip(tiles, cells, strict=True):
        row, column = divmod(int(cell), side)
        y, x = row * (height + gap), column * (width + gap)
        whole[y : y + height, x : x + width] = tile
    return whole


@styled
def jigsaw_examples(
    puzzles: Sequence[Puzzle],
    *,
    dataset: str,
    title: str = "Jigsaw puzzles, solved and failed",
    gap: int = 2,
) -> StudyFigure:
    """Three pictures per puzzle: shuffled, as the network puts it together (wrong tiles framed), and the truth."""
    if not puzzles:
        return message_figure(title, dataset, "No puzzle to show.")
    n_solved = sum(puzzle.solved for puzzle in puzzles)
    failed = len(puzzles) - n_solved
    see = f"The network puts {n_solved} of these {len(puzzles)} puzzles together" + (
        "; does it fail where you would?" if failed else ": no failed one was among those kept."
    )
    sheet = Sheet(left=0.3, gap=0.12)
    width = sheet.column_width(3)
    boxes = []
    for turn, puzzle in enumerate(puzzles):
        height, across = reassemble(puzzle.tiles, puzzle.truth, gap).shape
        boxes.append(sheet.row(3, width * height / across, above=0.34 * (turn == 0), below=0.22))
    figure = sheet.figure(title, dataset, ["Framed and crossed: tiles in a wrong cell."] if failed else [], see=see)
    grid = [[sheet.place(box) for box in places] for places in boxes]
    for row, puzzle in zip(grid, puzzles, strict=True):
        order = np.arange(len(puzzle.tiles))
        for axes, cells in zip(row, (order, puzzle.predicted, puzzle.truth), strict=True):
            picture(axes, reassemble(puzzle.tiles, cells, gap))
        _frame_wrong_tiles(row[1], puzzle, gap)
        right = int(np.sum(puzzle.truth == puzzle.predicted))
        verdict = "solved" if puzzle.solved else f"failed: {right} of {len(order)} tiles right"
        row[1].set_xlabel(verdict, fontsize=11, color=INK if puzzle.solved else RED, labelpad=3)
        row[0].set_ylabel(puzzle.title, fontsize=11)
    for axes, name in zip(grid[0], ("Shuffled", "Network's answer", "Truth"), strict=True):
        axes.set_title(name, loc="center", pad=4)
    return figure


def _frame_wrong_tiles(axes, puzzle: Puzzle, gap: int) -> None:
    """Red frame and corner-to-corner line on every tile that lies in a wrong cell."""
    n, height, width = puzzle.tiles.shape
    side = round(n**0.5)
    for true_cell, cell in zip(puzzle.truth, puzzle.predicted, strict=True):
        if true_cell == cell:
            continue
        row, column = divmod(int(cell), side)
        x, y = column * (width + gap) - 0.5, row * (height + gap) - 0.5
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=RED, linewidth=2.2))
        axes.plot([x, x + width], [y, y + height], color=RED, linewidth=1.0, alpha=0.8)
