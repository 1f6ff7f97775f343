"""What the figures ask of a tidy table: its columns, and words for the runs that are not in it.

Enters: pandas frames in the study's layouts. Leaves: checked frames, seed means, intervals and notes.
"""

import numpy as np
import pandas as pd

from .style import order_arms, paper_label


def require_columns(frame: pd.DataFrame, columns: list[str], what: str) -> None:
    """Raise ValueError naming the missing columns of `what`."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{what}: expected the columns {', '.join(columns)}; missing {', '.join(missing)}; "
            f"got {', '.join(map(str, frame.columns))}. Pass the table in the study's layout."
        )


def choose_arms(frame: pd.DataFrame, inits: list[str] | None) -> list[str]:
    """Arms to draw: those asked for, or else those present, in the order of drawing."""
    return order_arms(frame["init"].unique() if inits is None else inits)


def missing_runs(frame: pd.DataFrame, inits: list[str], seeds: list[int] | None = None) -> str | None:
    """Sentence on the (arm, seed) pairs without a row; None where all are there.

    Parameters
    ----------
    frame : with columns init and seed.
    inits : arms that should be there.
    seeds : seeds that should be there; by default every seed that any arm has.
    """
    present = set(zip(frame["init"], frame["seed"], strict=True))
    seeds = sorted(frame["seed"].unique()) if seeds is None else seeds
    gaps = []
    for init in inits:
        lacking = [str(seed) for seed in seeds if (init, seed) not in present]
        if not lacking and any(arm == init for arm, _ in present):
            continue
        everything = len(lacking) == len(seeds)
        which = "all seeds" if everything else ("seed " if len(lacking) == 1 else "seeds ") + ", ".join(lacking)
        gaps.append(f"{paper_label(init)} ({which})")
    return f"Missing: {'; '.join(gaps)}." if gaps else None


def score_rows(seed_scores: pd.DataFrame) -> pd.DataFrame:
    """The table of seeds' scores in the columns that the figures take.

    Parameters
    ----------
    seed_scores : `statistics.result_tables.seed_scores` of one task, set, metric and structure; rows averaged over
        severities (scope 'corruption') are left out, since the figures average themselves.

    Returns
    -------
    DataFrame with init, seed, corruption, severity (int, 0 = clean), score; n and unit where the table has them.

    Raises
    ------
    ValueError
        Where the rows mix several tasks, sets, metrics or structures.
    """
    place = ["task", "set", "metric", "structure"]
    require_columns(seed_scores, [*place, "scope", "condition", "severity", "init", "seed", "value"], "seed_scores")
    mixed = [column for column in place if seed_scores[column].nunique(dropna=False) > 1]
    if mixed:
        raise ValueError(f"seed_scores: expected one {', one '.join(mixed)}, got several: filter the table first")
    rows = seed_scores[seed_scores["scope"].isin(["clean", "severity"])]
    rows = rows.rename(columns={"condition": "corruption", "value": "score"})
    counted = [column for column in ("n", "unit") if column in rows]
    rows = rows[["init", "seed", "corruption", "severity", "score", *counted]].reset_index(drop=True)
    return rows.assign(severity=rows["severity"].fillna(0).astype(int))


def seed_interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % Student interval of the mean over seeds: mean +- t(0.975, n - 1) s / sqrt(n); None for fewer than 3 seeds.

    Parameters
    ----------
    values : float (n_seeds,), one score per seed; NaN is left out.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if values.size < 3:
        return None
    half = float(stdtrit(values.size - 1, 0.975) * values.std(ddof=1) / np.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22, 209).

    Raises
    ------
    ValueError
        Unless 0 <= correct <= n and n > 0.
    """
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"expected 0 <= correct <= n with n > 0, got correct={correct}, n={n}")
    share = correct / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(middle - half), float(middle + half)


def seed_dodge(n: int, width: float) -> np.ndarray:
    """Offsets (n,) that set n seeds side by side, centred on zero, within `width`."""
    return np.linspace(-width / 2, width / 2, n) if n > 1 else np.zeros(n)
