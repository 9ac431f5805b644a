"""What the course of the training changes."""

from typing import Annotated

from pydantic import Field

from pipelines.recipe.techniques.technique import Technique


class ReduceOnPlateau(Technique):
    """Lower the learning rate when the training loss stops falling, as torch's ReduceLROnPlateau does."""

    takes_tokens = True
    weight_access = "none"
    acts_once = True

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """what a reduction multiplies every learning rate by, on top of the schedule"""
    patience: Annotated[int, Field(ge=0)] = 10
    """epochs in a row without a better loss that are tolerated; the next one reduces"""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """share of the best loss by which a loss must lie below it to be better"""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """all reductions together go no lower than this"""


class EarlyStopping(Technique):
    """End the training when the accuracy on the held-out images has stopped rising. It is measured after each epoch,
    in the lap `evaluate`."""

    evaluates_other_weights = True

    patience: Annotated[int, Field(ge=1)] = 5
    """epochs without a rise after which the training ends"""
    min_delta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """a rise is more than this, as a fraction of the images"""
    restore_best: bool = True
    """end on the weights of the best epoch; false: on the last ones"""

    @property
    def weight_copies(self) -> int:
        return 1
