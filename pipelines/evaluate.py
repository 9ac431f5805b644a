"""Accuracy on the whole test set, with the recipe's test-time augmentation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.parallel import World
from pipelines.recipe.training import Evaluation

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class View:
    """One look at a test image, and its weight in the mean of the logits."""

    weight: float
    flip: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        return images.flip(3) if self.flip else images


VIEWS = {
    "none": (View(1.0),),
    "flip": (View(0.5), View(0.5, flip=True)),
}
"""Test-time augmentation by the recipe's name for it. The first view is the image itself."""


@torch.no_grad()
def evaluate(forward: Forward, images: Tensor, labels: Tensor, knobs: Evaluation, world: World) -> tuple[float, float]:
    """Accuracy with the recipe's test-time augmentation and without it, over exactly the images given.

    images: (N, C, H, W) in the network's dtype; labels: (N,). Each process takes its share of the images.
    """
    views = VIEWS[knobs.tta]
    correct = torch.zeros(2, dtype=torch.int64, device=images.device)
    my_images, my_labels = (tensor.tensor_split(world.size)[world.rank] for tensor in (images, labels))
    for batch, wanted in zip(my_images.split(knobs.batch_size), my_labels.split(knobs.batch_size), strict=True):
        logits = [forward(view(batch)).float() for view in views]
        mean = sum(view.weight * part for view, part in zip(views, logits, strict=True))
        correct += torch.stack([(mean.argmax(1) == wanted).sum(), (logits[0].argmax(1) == wanted).sum()])
    with_tta, plain = world.sum(correct).tolist()
    return with_tta / len(images), plain / len(images)
