"""What every group of knobs shares: unknown keys are refused, and the docstring under a field is its documentation."""

import typing
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Knobs(BaseModel):
    """A group of knobs of a recipe."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def documented(group: type[Knobs], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every knob below `group` as (dotted key, field), in the order in which it is written down."""
    for key, field in group.model_fields.items():
        yield f"{prefix}{key}", field
        for inner in groups_in(field.annotation):
            yield from documented(inner, f"{prefix}{key}.")


def groups_in(annotation: object) -> list[type[Knobs]]:
    """The groups of knobs that an annotation such as `DavidNet | ConvNet` or `Ema | None` names."""
    if isinstance(annotation, type) and issubclass(annotation, Knobs):
        return [annotation]
    return [group for argument in typing.get_args(annotation) for group in groups_in(argument)]
