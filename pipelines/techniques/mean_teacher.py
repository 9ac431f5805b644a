"""Mean teacher (Tarvainen & Valpola 2017): agree, on other views, with a moving average of oneself."""

import copy

import torch
from torch import Tensor

from pipelines.distributed.average import average_statistics
from pipelines.events import State
from pipelines.models.dropout import Dropout
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast
from pipelines.techniques.semi_supervised import ramp_up, unlabelled_per_step


@torch.no_grad()
def follow(teacher: list[Tensor], student: list[Tensor], momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, in place."""
    torch._foreach_lerp_(teacher, student, 1 - momentum)


def disagreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the class probabilities of (N, classes) logits; the teacher gets no gradient."""
    return (student.softmax(1) - teacher.detach().softmax(1)).square().mean()


class MeanTeacher:
    """Adds the disagreement with the teacher on unlabelled images to the loss, and evaluates the teacher."""

    def __init__(self, config: techniques.MeanTeacher) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        self._pool = state.pool()
        self._count = unlabelled_per_step(state, self._config.ratio)
        # the rates of dropout are the student's, which `progressive_dropout` changes
        rates = {id(one.keep): one.keep for one in state.network.modules() if isinstance(one, Dropout)}
        self._teacher = copy.deepcopy(state.network, rates).requires_grad_(False)
        self._call_teacher = autocast(self._teacher, state.recipe, state.world)
        state.objective = self._objective

    def epoch_start(self, state: State) -> None:
        order = self._pool.next(self._count * state.steps_per_epoch)
        student, teacher = (self._pool.augmented(order, self._config.views).split(self._count) for _ in range(2))
        self._views = zip(student, teacher, strict=True)

    def _objective(self, state: State, images: Tensor, labels: Tensor) -> Tensor:
        to_student, to_teacher = next(self._views)
        with torch.no_grad():
            targets = self._call_teacher(to_teacher).float()
        logits = state.forward(torch.cat([images, to_student])).float()
        weight = self._config.weight * ramp_up(state.step / state.steps_per_epoch, self._config.ramp_up_epochs)
        supervised = state.loss_function(logits[: len(images)], labels)
        return supervised + weight * disagreement(logits[len(images) :], targets)

    def step_end(self, state: State) -> None:
        momentum = min(1 - 1 / (state.step + 1), self._config.momentum)  # an average of all, as long as there are few
        follow(list(self._teacher.parameters()), list(state.network.parameters()), momentum)

    def evaluation_start(self, state: State) -> None:
        average_statistics(self._teacher, state.world.data)
        self._teacher.eval()
        self._predict, state.predict = state.predict, self._call_teacher

    def evaluation_end(self, state: State) -> None:
        self._teacher.train()
        state.predict = self._predict
