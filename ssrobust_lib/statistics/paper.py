"""What the paper prints and what it claims, from the two files that hold it.

Enters: `book/paper_results.csv` (every number, as printed) and `book/paper_claims.yaml` (every claim, with the rule
that tests it). Leaves: a checked table and `Claim` objects whose texts take their numbers from the table.
"""

import re
from pathlib import Path

import pandas as pd
import yaml
from pydantic import ValidationError

from ssrobust_lib.config import PROJECT
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.claims import Claim

PAPER_RESULTS = PROJECT / "book" / "paper_results.csv"
PAPER_CLAIMS = PROJECT / "book" / "paper_claims.yaml"

#: Columns of the file, all text: value, std and p as printed ("0.900", "<0.001").
PRINTED_COLUMNS = (
    "id", "source", "task", "set", "metric", "condition", "arm", "value", "std", "p", "direction", "note",
)  # fmt: skip
_TOKEN = re.compile(r"\{([\w.]+)(?::(value|std|p))?\}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the paper's numbers or claims there; use a checkout of the project")
    return path.read_text(encoding="utf-8")


def paper_results(path: Path | None = None) -> pd.DataFrame:
    """Every number that the paper prints, one row each.

    Returns
    -------
    DataFrame with text columns id, source, task, set, metric, condition, arm, direction ('+', '-' or ''), note;
    `printed`, `printed_std` and `printed_p` as in the paper; float64 `value`, `std` and `p` (for '<0.001' its bound),
    NaN where the paper prints none; bool `p_is_bound`.

    Raises
    ------
    FileNotFoundError : the file is not there.
    ValueError : other columns, or an id that occurs twice.
    """
    path = path or PAPER_RESULTS
    _text(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != PRINTED_COLUMNS:
        raise ValueError(f"{path}: expected the columns {', '.join(PRINTED_COLUMNS)}, got {', '.join(table.columns)}")
    if table["id"].duplicated().any():
        raise ValueError(f"{path}: ids occur twice: {', '.join(table.loc[table['id'].duplicated(), 'id'])}")
    table = table.assign(printed=table["value"], printed_std=table["std"], printed_p=table["p"])
    table["value"] = pd.to_numeric(table["value"].str.replace(",", ""))
    table["std"] = pd.to_numeric(table["std"])
    table["p_is_bound"] = table["p"].str.startswith("<")
    table["p"] = pd.to_numeric(table["p"].str.removeprefix("<"))
    return table


def fill_numbers(text: str, results: pd.DataFrame) -> str:
    """Replace `{id}`, `{id:std}` and `{id:p}` by what the paper prints there.

    Raises
    ------
    UnknownNameError : the table has no such id.
    ValueError : the paper prints no such number for that id.
    """
    by_id = results.set_index("id")

    def printed(match: re.Match[str]) -> str:
        name, column = match.group(1), match.group(2) or "value"
        if name not in by_id.index:
            raise unknown_name("id of a printed number", name, list(by_id.index))
        number = str(by_id.at[name, "printed" if column == "value" else f"printed_{column}"])
        if not number:
            raise ValueError(f"the paper prints no {column} for {name!r}; correct the claim's text")
        return number

    return _TOKEN.sub(printed, text)


def paper_claims(path: Path | None = None, results: pd.DataFrame | None = None) -> list[Claim]:
    """The paper's claims, in its order, with the printed numbers filled in.

    Raises
    ------
    FileNotFoundError : the file is not there.
    ValueError : not YAML, not a list of claims, a field that is wrong, or an id that occurs twice.
    UnknownNameError : a text names a number that the results table does not have.
    """
    path = path or PAPER_CLAIMS
    try:
        entries = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML; {str(error).replace(chr(10), ' ')}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of claims, got {type(entries).__name__}")
    results = paper_results() if results is None else results
    claims: list[Claim] = []
    for entry in entries:
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            name = entry.get("id", "without id") if isinstance(entry, dict) else repr(entry)
            raise ValueError(f"{path}: claim {name}: {faults}") from None
        if claim.id in {known.id for known in claims}:
            raise ValueError(f"{path}: the claim {claim.id!r} occurs twice")
        claims.append(claim.model_copy(update={"paper": fill_numbers(claim.paper, results)}))
    return claims
