"""A small residual network, parts of which can start at zero as in published networks."""

import torch
from torch import nn

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.strategies import make_strategy
from pipelines.train import TrainingSetup

WIDTH = 8


class Residual(nn.Module):
    """(N, 1, 8, 8) images to (N, 10) logits. Every parameter whose name contains one of `zeros` starts at zero."""

    image_shape = (1, 8, 8)

    def __init__(self, zeros=(), *, norm=False, layer_scale=False, norm_of_logits=False):
        super().__init__()
        self.zeros = zeros
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.inner = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.outer = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH) if norm else nn.Identity()
        self.scale = nn.Parameter(torch.zeros(WIDTH, 1, 1)) if layer_scale else 1.0
        self.head = nn.Linear(WIDTH * 16, 10)
        self.last = nn.BatchNorm1d(10) if norm_of_logits else nn.Identity()

    @torch.no_grad()
    def reset_parameters(self):
        for module in self.children():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        for name, parameter in self.named_parameters():
            if name == "scale" or any(part in name for part in self.zeros):
                parameter.zero_()

    def forward(self, images):
        features = self.first(images).relu()
        features = features + self.scale * self.norm(self.outer(self.inner(features).relu()))
        return self.last(self.head(nn.functional.max_pool2d(features, 2).flatten(1)))


def setup_of(network, dataset):
    """What a doctor examines of a network that no recipe has, in the recipe digits/quick."""
    chosen = recipe.load("digits/quick")
    return TrainingSetup(chosen, dataset, World(), torch.float32, make_strategy(chosen, network, World()))
