"""Parts of the network that are not trained, or not to the end."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.recipe.config import Positive
from pipelines.recipe.techniques.technique import Technique


class WhiteningBias(Technique):
    """Train the bias of the whitening layer for the first epochs only: from then on its gradient, which is the most
    expensive of all, is not computed (airbench)."""

    weight_access = "none"
    acts_once = True
    changes_graph = True

    epochs: Positive = 3.0
    """epochs in which it is trained"""
    decay: bool = False
    """let its learning rate fall linearly to zero over them; false: it follows the schedule of the others"""

    def shortened(self, steps_per_epoch: int) -> Self:
        return self.model_copy(update={"epochs": 1 / steps_per_epoch})


class FreezeOut(Technique):
    """Train the first stages of the network for the first epochs only: from then on neither their gradients nor that of
    what they put out are computed (FreezeOut, Brock et al. 2017). What is before a stage is frozen with it. Until then
    its rate follows the schedule of all; in the paper it falls to zero along half a cosine of its own."""

    weight_access = "none"
    acts_once = True
    changes_graph = True

    epochs: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """epochs in which each of the stages is trained, from the first stage on, in rising order; the stages that are not
    listed are trained to the end"""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if list(self.epochs) != sorted(self.epochs):
            raise ValueError(f"epochs={list(self.epochs)} must rise: a stage is frozen with those before it")
        return self

    def ends(self, steps_per_epoch: int) -> list[int]:
        """The steps after which each of the stages is frozen."""
        return [max(1, round(epochs * steps_per_epoch)) for epochs in self.epochs]

    @property
    def warm_up_steps(self) -> int:
        return 2 + len(self.epochs)

    def shortened(self, steps_per_epoch: int) -> Self:
        after_whitening_bias = range(2, 2 + len(self.epochs))
        return self.model_copy(update={"epochs": tuple(step / steps_per_epoch for step in after_whitening_bias)})


class LinearProbe(Technique):
    """Train the last layer alone, on the features of a backbone that stays as it is; it must have no norms, whose
    statistics would move."""

    needs_features = True
    single_process_only = True
