"""Knowledge distillation: learn from a larger network's logits (Hinton et al. 2015) and features (FitNets, 2015)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines import models
from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast, compiled
from pipelines.techniques.pretraining import fit
from pipelines.techniques.semi_supervised import probabilities


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL divergence of (N, classes) logits at a temperature, times its square, so that its gradient keeps its size."""
    targets = (teacher.detach() / temperature).log_softmax(1)
    guesses = (student / temperature).log_softmax(1)
    return F.kl_div(guesses, targets, reduction="batchmean", log_target=True) * temperature**2


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine similarity of (N, features), the mean over the images; the teacher gets no gradient."""
    return 1 - F.cosine_similarity(student, teacher.detach()).mean()


class Distillation:
    """Trains the teacher on the labelled images first, and then the student on the labels and on the teacher."""

    def __init__(self, config: techniques.Distillation) -> None:
        self._config = config
        self._optimizers: list[torch.optim.Optimizer] = []
        """of the translation, if features are learnt too"""

    def pretrain(self, state: State) -> None:
        config, recipe, world = self._config, state.recipe, state.world
        head = state.network.head
        pool = state.pool("train")
        plain, labels = pool.images(), state.loader.plain()[1]
        teacher = models.build_network(config.teacher, tuple(plain.shape[1:]), head.out_features)
        generator = torch.Generator(world.device).manual_seed(state.seed)
        teacher = models.to_precision(teacher.to(world.device), head.weight.dtype, channels_last=recipe.channels_last)
        models.fit_whitening(teacher, state.loader.plain)
        self._teacher = autocast(teacher, recipe, world)

        def objective(chosen: Tensor) -> Tensor:
            return F.cross_entropy(self._teacher(pool.augmented(chosen, recipe.augment)).float(), labels[chosen])

        fit(teacher.parameters(), objective, len(labels), config, generator)
        teacher.eval().requires_grad_(False)
        right = probabilities(teacher, plain, state).argmax(1) == labels
        state.notes["distillation"] = {"teacher_train_accuracy": right.float().mean().item()}
        state.objective = self._from_logits
        if config.feature_weight:
            student = compiled(state.network.features_and_logits, recipe, world)
            self._of_student = autocast(student, recipe, world)
            self._of_teacher = autocast(teacher.features_and_logits, recipe, world)
            self._translate = nn.Linear(head.in_features, teacher.head.in_features).to(world.device)
            self._optimizers = [torch.optim.AdamW(self._translate.parameters(), lr=config.lr, fused=True)]
            state.objective = self._from_features_too

    def _from_logits(self, state: State, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self._teacher(images)
        return self._loss(state, state.forward(images), targets, labels)

    def _from_features_too(self, state: State, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_features, targets = self._of_teacher(images)
        features, logits = self._of_student(images)
        distance = feature_distance(self._translate(features.float()), teacher_features.float())
        return self._loss(state, logits, targets, labels) + self._config.feature_weight * distance

    def _loss(self, state: State, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        config = self._config
        soft = soft_cross_entropy(logits.float(), targets.float(), config.temperature)
        return (1 - config.weight) * state.loss_function(logits, labels) + config.weight * soft

    def step_end(self, state: State) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
