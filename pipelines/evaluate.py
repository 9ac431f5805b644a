"""Accuracy on the whole test set, with the recipe's test-time augmentation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.distributed.process_group import World
from pipelines.recipe.training import Evaluation

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class View:
    """One look at a test image, and its weight in the mean of the logits."""

    weight: float
    flip: bool = False
    shift: int = 0
    """pixels by which the image is moved down and to the right; what comes in is its reflection"""

    def __call__(self, images: Tensor) -> Tensor:
        """The view of (N, C, H, W) images."""
        if self.shift:
            pad, (height, width) = abs(self.shift), images.shape[2:]
            first = pad - self.shift
            images = F.pad(images, (pad,) * 4, "reflect")[:, :, first : first + height, first : first + width]
        return images.flip(3) if self.flip else images


VIEWS = {
    "none": (View(1.0),),
    "flip": (View(0.5), View(0.5, flip=True)),
    "crops": (
        View(0.25),
        View(0.25, flip=True),
        *(View(0.125, flip, shift) for shift in (-1, 1) for flip in (False, True)),
    ),
}
"""Test-time augmentation by the recipe's name for it. The first view is the image itself."""


@dataclass(frozen=True)
class Accuracy:
    """Shares of the test images that are classified rightly."""

    with_tta: float
    """by the recipe's rule, test-time augmentation included"""
    plain: float
    """from the images as they are"""
    by_class: tuple[float | None, ...]
    """by the recipe's rule, of the images of each class; None where there are none"""


@torch.no_grad()
def evaluate(forward: Forward, images: Tensor, labels: Tensor, config: Evaluation, world: World) -> Accuracy:
    """Accuracy with the recipe's test-time augmentation and without it, over exactly the images given.

    images: (N, C, H, W) in the network's dtype; labels: (N,). Each process takes its share of the images.
    """
    my_images, my_labels = (tensor.tensor_split(world.size)[world.rank] for tensor in (images, labels))
    largest = math.ceil(len(images) / world.size)
    itself, *others = VIEWS[config.tta]
    first = sum_of_views(forward, batches(my_images, config.batch_size, largest), [View(1.0)])
    mean = itself.weight * first
    if others:
        chosen = least_certain(first, config.tta_share)
        uncertain = batches(my_images[chosen], config.batch_size, math.ceil(config.tta_share * largest))
        mean[chosen] += sum_of_views(forward, uncertain, others)
    classes = first.shape[1]
    is_right = torch.stack([first.argmax(1) == my_labels, mean.argmax(1) == my_labels])
    hits = world.sum((is_right[:, :, None] * F.one_hot(my_labels, classes)).sum(1))
    counts = F.one_hot(labels, classes).sum(0)
    # all that the host has to know, in one copy
    plain, by_class, of_class = torch.cat([hits, counts[None]]).tolist()
    return Accuracy(
        with_tta=sum(by_class) / len(images),
        plain=sum(plain) / len(images),
        by_class=tuple(right / count if count else None for right, count in zip(by_class, of_class, strict=True)),
    )


def batches(images: Tensor, size: int, largest: int) -> list[Tensor]:
    """A process's images in as many batches as the largest share needs, so that all processes call the network equally
    often, as one whose weights they share must be: a share that is an image smaller may end with an empty batch."""
    return [*images.split(size), images[:0]][: max(1, math.ceil(largest / size))]


def sum_of_views(forward: Forward, images: Sequence[Tensor], views: Sequence[View]) -> Tensor:
    """Each view's logits times its weight, added up: (N, classes), float32. images: in batches."""
    parts = [torch.stack([view.weight * forward(view(batch)).float() for view in views]).sum(0) for batch in images]
    return torch.cat(parts)


def least_certain(logits: Tensor, share: float) -> Tensor | slice:
    """Which images, a share of all, have the smallest probability of their likeliest class."""
    if share == 1:
        return slice(None)
    certainty = logits.softmax(1).amax(1)
    return certainty.topk(math.ceil(share * len(logits)), largest=False).indices
