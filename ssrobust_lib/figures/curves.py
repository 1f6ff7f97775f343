"""Curves over training: the pretext task and the fine-tuning of each arm, and how well the puzzles are solved.

Enters: the table `curves` (task, init, seed, epoch, train_loss, val_loss, val_score), or counts of puzzles solved on
held-out images. Leaves: figures. Sections 2 (Self-Supervision, Implementation Details) and 3.2 of the paper.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .style import FAINT, INK, arm_styles, paper_label
from .tidy import choose_arms, missing_runs, require_columns, wilson_interval
from .what_to_see import seen_in_puzzles_solved, seen_in_training


def _spread(axes: Axes, frame: pd.DataFrame, column: str, *, colour: str, line, marker: str | None) -> None:
    """Mean over seeds against the epoch, each seed as a thin line, the range of the seeds as a band."""
    table = frame.pivot_table(index="epoch", columns="seed", values=column)  # (n_epochs, n_seeds)
    if table.empty:
        return
    if table.shape[1] > 1:
        axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.18, linewidth=0)
        for seed in table:
            axes.plot(table.index, table[seed], color=colour, linewidth=0.6, alpha=0.35)
    every = max(1, len(table) // 8)
    axes.plot(table.index, table.mean(axis=1), color=colour, linestyle=line, marker=marker, markevery=every, zorder=3)


@styled
def training_curves(
    curves: pd.DataFrame,
    *,
    score_name: str,
    dataset: str,
    title: str = "Fine-tuning",
    inits: list[str] | None = None,
    chance: float | None = None,
) -> StudyFigure:
    """Loss (training dotted, validation full) and validation score against the epoch, over the seeds of each arm.

    Parameters
    ----------
    curves : init, seed, epoch, train_loss, val_loss, val_score, of one task and stage.
    score_name : word on the score's axis ('Dice', 'AUROC', 'puzzles solved').
    chance : score of guessing, drawn as a line.
    """
    require_columns(curves, ["init", "seed", "epoch", "train_loss", "val_loss", "val_score"], "curves")
    if curves.empty:
        return message_figure(title, dataset, "No epoch has been trained yet.")
    arms = choose_arms(curves, inits)
    styles = arm_styles(arms)
    figure = new_figure(4.3)
    grid = figure.add_gridspec(2, 2, height_ratios=[0.24, 1])
    loss, score = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    for init in arms:
        rows, style = curves[curves["init"] == init], styles[init]
        train = rows.groupby("epoch")["train_loss"].mean()
        loss.plot(train.index, train, color=style.colour, linestyle=":", linewidth=1.6)
        _spread(loss, rows, "val_loss", colour=style.colour, line=style.line, marker=style.marker)
        _spread(score, rows, "val_score", colour=style.colour, line=style.line, marker=style.marker)
    if chance is not None:
        score.axhline(chance, color=INK, linestyle=(0, (6, 3)), linewidth=1.2)
    for axes, name in ((loss, "Loss"), (score, f"Validation: {score_name}")):
        axes.set_title(name)
        axes.set_xlabel("Epoch")
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.grid(True)
    handles = [
        Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, label=paper_label(init))
        for init, s in styles.items()
    ]
    handles.append(Line2D([], [], color=FAINT, linestyle=":", label="training loss"))
    if chance is not None:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (6, 3)), linewidth=1.2, label=f"chance ({chance:.3g})"))
    legend_strip(figure.add_subplot(grid[0, :]), handles)
    n_seeds = curves["seed"].nunique()
    spread = f"Thick: mean of {n_seeds} seeds; band: their range." if n_seeds > 1 else "One seed: no spread to show."
    notes = [spread, missing_runs(curves, arms)]
    return finish(figure, title, dataset, notes, see=seen_in_training(curves, arms))


@styled
def pretext_accuracy(
    solved: pd.DataFrame,
    *,
    chance: float,
    dataset: str,
    title: str = "Puzzles solved on held-out images",
    seeds: list[int] | None = None,
) -> StudyFigure:
    """Share of held-out puzzles solved by each seed's pretext network, with its binomial interval, against chance.

    Parameters
    ----------
    solved : seed, n_correct, n (counts of puzzles).
    chance : share that guessing solves, 1 / number of permutations.
    seeds : seeds that ought to be there; one without a row is marked.
    """
    require_columns(solved, ["seed", "n_correct", "n"], "solved")
    if solved.empty:
        return message_figure(title, dataset, "No pretext network has been evaluated yet.")
    style = arm_styles(["jigsaw"])["jigsaw"]
    seeds = sorted(solved["seed"].unique()) if seeds is None else seeds
    by_seed = solved.groupby("seed")[["n_correct", "n"]].sum()
    figure = new_figure(1.9 + 0.42 * len(seeds))
    axes, above = figure.subplots(), 0
    for row, seed in enumerate(seeds):
        if seed not in by_seed.index:
            axes.text(0.5, row, "missing", va="center", ha="center", fontstyle="italic")
            continue
        correct, n = int(by_seed.loc[seed, "n_correct"]), int(by_seed.loc[seed, "n"])
        low, high = wilson_interval(correct, n)
        share = correct / n
        above += low > chance
        error = [[max(share - low, 0)], [max(high - share, 0)]]
        axes.errorbar(share, row, xerr=error, color=style.colour, marker=style.marker, capsize=4, linewidth=2)
        axes.text(1.03, row, f"{correct:,} of {n:,}", va="center", fontsize=11)
    axes.axvline(chance, color=INK, linestyle=(0, (2, 2)), linewidth=1.4)
    axes.annotate(f"chance {chance:.3g}", (chance, 1), (4, 3), xycoords=("data", "axes fraction"),
                  textcoords="offset points", fontsize=11)  # fmt: skip
    axes.set_yticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    axes.set_ylim(len(seeds) - 0.5, -0.5)
    axes.set_xlim(0, 1.0)
    axes.set_xlabel("Share of puzzles solved")
    axes.xaxis.grid(True)
    see = seen_in_puzzles_solved(above, len(by_seed), chance)
    return finish(figure, title, dataset, ["Lines: 95 % Wilson intervals of the share; dashed: guessing."], see=see)
