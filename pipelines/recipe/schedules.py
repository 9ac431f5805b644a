"""The knobs of the learning-rate schedules."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.recipe.knobs import Knobs, NonNegative


class Constant(Knobs):
    """The learning rate stays as it is."""

    name: Literal["constant"]
    """the schedule"""


class PiecewiseLinear(Knobs):
    """Straight lines between knots; the last value holds after the last knot."""

    name: Literal["piecewise_linear"]
    """the schedule"""
    epochs: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """the knots, in epochs (fractions allowed), rising"""
    values: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    """factor on `optimizer.lr` at each knot"""

    @model_validator(mode="after")
    def _knots_match(self) -> "PiecewiseLinear":
        if len(self.epochs) != len(self.values):
            raise ValueError(f"{len(self.epochs)} epochs but {len(self.values)} values: give one value per knot")
        if any(later <= earlier for earlier, later in zip(self.epochs, self.epochs[1:], strict=False)):
            raise ValueError(f"epochs must rise from knot to knot, not {list(self.epochs)}")
        return self


Schedule = Annotated[Constant | PiecewiseLinear, Field(discriminator="name")]
