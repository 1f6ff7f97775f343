"""What the sections of a profile are made of: strict, immutable models, and numbers with their limits."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator


class Section(BaseModel):
    """A part of a profile: no unknown field, no converted type, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Severity = Annotated[int, Field(ge=1, le=5)]


def _amount(value: Any) -> int | float:
    """Let pass a whole count of 1 or more, or a fraction between 0 and 1."""
    if type(value) is int and value >= 1 or type(value) is float and 0 < value < 1:
        return value
    raise ValueError(f"expected a whole count of 1 or more, or a fraction between 0 and 1, got {value!r}")


Amount = Annotated[int | float, PlainValidator(_amount)]
ALL = "all"


def _amount_or_all(value: Any) -> int | float | str:
    """Let pass what `Amount` is, or the word for everything there is."""
    if value == ALL:
        return ALL
    try:
        return _amount(value)
    except ValueError as error:
        raise ValueError(str(error).replace("expected", f"expected the word {ALL!r},")) from None


AmountOrAll = Annotated[int | float | str, PlainValidator(_amount_or_all)]
