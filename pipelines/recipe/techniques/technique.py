"""What every technique states of itself."""

from typing import ClassVar, Literal, Self

from pipelines.recipe.config import Config


class Technique(Config):
    """What every technique has. The class variables state what is true of the technique itself: the constraints, the
    estimate, the strategies and the warm-up read them here."""

    package: ClassVar[str] = "pipelines.techniques"
    """the package of the module that implements it"""
    weight_access: ClassVar[Literal["none", "evaluation", "training"]] = "training"
    """`none`: it uses neither weights nor gradients; `evaluation`: it reads the weights, and puts others in their place
    for an evaluation only; `training`: it changes weights, gradients or the optimizer, or calls the
    network itself"""
    evaluates_other_weights: ClassVar[bool] = False
    """it decides which weights are evaluated"""
    own_objective: ClassVar[bool] = False
    """it minimizes something else than the loss of the batch alone"""
    acts_once: ClassVar[bool] = False
    """it changes something once and for all, before the training or in the course of it"""
    averages_weights: ClassVar[bool] = False
    """it averages the weights of several steps"""
    needs_float32: ClassVar[bool] = False
    """it changes weights without float32 masters, by less than half precision resolves"""
    changes_graph: ClassVar[bool] = False
    """after a while some parameters have no gradient any more"""
    changes_gradients: ClassVar[bool] = False
    """it changes the gradients of each batch"""
    needs_features: ClassVar[bool] = False
    """it calls the network in two parts, `features` and `logits`"""
    single_process_only: ClassVar[bool] = False
    """it does not train with several processes"""
    needs_unlabelled: ClassVar[bool] = False
    """it learns from images without labels, which `data.fraction` leaves"""
    computes_beside: ClassVar[bool] = False
    """it computes on images of its own or with another network, which the estimate does not count"""
    takes_tokens: ClassVar[bool] = False
    """it sees weights, gradients or losses alone, so that the data may be tokens as well as images"""

    @property
    def redraws_by(self) -> str | None:
        """The option by which it draws new weights in the course of the training; None: it does not."""
        return None

    @property
    def weight_copies(self) -> int:
        """How many float32 copies of the weights it keeps."""
        return 0

    @property
    def warm_up_steps(self) -> int:
        """Steps after which it has done all that it does in a training."""
        return 1

    def shortened(self, steps_per_epoch: int) -> Self:
        """The technique as the warm-up runs it: all that it does happens within the first steps."""
        return self
