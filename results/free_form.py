"""What readers compute with of the free-form parts of a record: options of its recipe, and notes of its trials.

A recipe may be of any version, or of a training of somebody's own, so that a record keeps it as it is. An option that
readers use must have the type that is stated here; if not, the record is damaged and is refused as it is read. Other
options may be anything. A note is whatever a technique or a function of one's own has to say: one of another form than
that which is stated here counts as not written.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from results.json_values import Amount, Count, Positive


class _Known(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=_Known)


class Resolution(_Known):
    epochs: Annotated[list[Count], Field(min_length=1)]
    """the first epoch of each image size"""


class Augment(_Known):
    resolution: Resolution | None = None


class Tokens(_Known):
    length: Positive
    """of a sequence"""


class MadeUp(_Known):
    size: Positive | None = None
    """height and width of an image"""


class Data(_Known):
    name: str | None = None
    path: str | None = None
    limit: Count | None = None
    evaluate: str | None = None
    fold: Count | None = None
    folds: Count | None = None
    tokens: Tokens | None = None
    made_up: MadeUp | None = None


class Parallel(_Known):
    compression: str | None = None
    sync_gradients: bool | None = None


def _absent_is_empty(value: object) -> object:
    return {} if value is None else value


class Options(_Known):
    """Of a recipe; None for what it does not say. Functions and commands say less than recipes."""

    title: str | None = None
    change: str | None = None
    table: str | None = None
    clock: str | None = None
    entry: str | None = None
    code: str | None = None
    files: dict[str, str] | None = None
    precision: str | None = None
    epochs: Amount | None = None
    batch_size: Positive | None = None
    augment: Annotated[Augment, BeforeValidator(_absent_is_empty)] = Augment()
    data: Annotated[Data, BeforeValidator(_absent_is_empty)] = Data()
    parallel: Annotated[Parallel, BeforeValidator(_absent_is_empty)] = Parallel()


class LoaderCosts(_Known):
    """What the technique `loader_costs` notes."""

    images: Amount
    seconds: Annotated[float, Field(gt=0, le=1e100)]
    """of the loader, when nothing is trained"""
    waited_seconds: Amount
    cpu_seconds: Amount | None = None


class Bubble(_Known):
    """What the strategy `pipeline` notes."""

    bubble: Amount
    bubble_in_theory: Amount


class OutsideLaps(_Known):
    """What a function of one's own has noted for it."""

    seconds: Amount
    seconds_outside_laps: Amount


def options_of(recipe: Mapping[str, Any]) -> Options:
    """ValueError of one line for an option of a wrong type."""
    try:
        return Options.model_validate(recipe)
    except pydantic.ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]
        is_no_object = what["type"] == "model_type"  # pydantic would name our classes
        said = "Input should be an object" if is_no_object else what["msg"]
        raise ValueError(f"{'.'.join(map(str, what['loc']))}: {said}") from None


def noted(kind: type[Kind], note: object) -> Kind | None:
    """A note; None where it has another form, or there is none."""
    try:
        return kind.model_validate(note)
    except pydantic.ValidationError:
        return None
