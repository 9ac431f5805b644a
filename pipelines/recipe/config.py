"""The base class of every part of a recipe. The docstring under a field is its documentation."""

import typing
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Config(BaseModel):
    """A group of options. Unknown options and values of another type are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def documented(config: type[Config], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every option below `config` as (dotted key, field), in the order of definition."""
    for key, field in config.model_fields.items():
        yield f"{prefix}{key}", field
        for inner in configs_in(field.annotation):
            yield from documented(inner, f"{prefix}{key}.")


def configs_in(annotation: object) -> list[type[Config]]:
    """The configurations that an annotation such as `DavidNet | ConvNet` or `EMA | None` names."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [config for argument in typing.get_args(annotation) for config in configs_in(argument)]
