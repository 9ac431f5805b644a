"""A file with `main(run, model)` that returns an accuracy, as airbench's files have it, and the adapter for it.

paceline run returns_accuracy.py:train --target 0.9

To time a file of somebody else's, keep the adapter alone in a file beside it, and import theirs in place of `main`.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from paceline import trial

# --- the file as it is -------------------------------------------------------------------------------------------


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def main(run: str | int, model: nn.Module) -> float:
    """Train from new weights and return the accuracy. `run` is "warmup" or a number."""
    images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    if run == "warmup":
        labels = torch.randint(0, 10, labels.shape)
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(10):
        for batch in torch.randperm(1437).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return (model(images[1437:]).argmax(1) == labels[1437:]).float().mean().item()


# --- the adapter -------------------------------------------------------------------------------------------------

model = make_model()


def warm_up(run: trial.Run) -> None:
    """Is called once, before the first trial, in the lap `compile`."""
    main("warmup", model)


def train(run: trial.Run) -> float:
    """airbench's shape: one call that returns the accuracy. It has no laps, and so the whole call is `train`."""
    return main(run.seed, model)
