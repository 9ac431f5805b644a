"""Techniques that call a network themselves call it under autocast where the recipe asks for it."""

import math

import pytest
import torch

from pipelines import recipe
from pipelines.data.split import labelled_fraction
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.test_semi_supervised import TECHNIQUES

LINES = {name: f"techniques.{name}={options}" for name, options in TECHNIQUES.items()} | {
    "pretrained": "techniques.pretrained={epochs: 1, views: {crop: 1}}",
    "distillation": "techniques.distillation={epochs: 1}",
    "features": "techniques.distillation={epochs: 1, feature_weight: 0.5}",
    "linear_probe": "techniques.linear_probe={}",
    "layer_scales": "techniques.layer_scales={}",
    "batch_selection": "techniques.batch_selection={proxy: {name: convnet, widths: [4, 4]}}",
}


@pytest.fixture(scope="module")
def partly_labelled(digits):
    return labelled_fraction(digits, 0.2, seed=0)


def quick(*overrides):
    plain = ["epochs=3", "schedule={name: constant}", "optimizer.lr=0.05"]
    return recipe.load("digits/quick", [*plain, *overrides])


class Products:
    """An observer that keeps in which dtypes the network's convolutions compute, and in which its weights are."""

    def __init__(self):
        self.computed, self.weights = set(), set()

    def trial_start(self, state):
        layers = [module for module in state.network.modules() if isinstance(module, torch.nn.Conv2d)]
        self._hooks = [layer.register_forward_hook(self._keep) for layer in layers]

    def trial_end(self, state):
        for hook in self._hooks:
            hook.remove()
        self.weights = {parameter.dtype for parameter in state.network.parameters()}

    def _keep(self, layer, inputs, output):
        self.computed.add(output.dtype)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_weights_are_float32_and_products_bfloat16(monkeypatch, partly_labelled, line):
    trained = set()

    class Recording(torch.optim.AdamW):
        """What pretraining, teachers and translations train with; the recipe has SGD."""

        def __init__(self, parameters, **options):
            parameters = list(parameters)
            trained.update(parameter.dtype for parameter in parameters)
            super().__init__(parameters, **options)

    monkeypatch.setattr(torch.optim, "AdamW", Recording)
    products = Products()
    setup = set_up(quick("precision=autocast", line), partly_labelled, World())
    trial = run_trial(setup, seed=0, observers=[products])
    losses = [epoch.train_loss for epoch in trial.epochs]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)
    assert products.computed == {torch.bfloat16}
    assert products.weights == {torch.float32}
    assert trained <= {torch.float32}


@pytest.mark.parametrize("line", [LINES[name] for name in ("mean_teacher", "masked_image", "features")])
def test_what_changes_weights_by_little_is_refused_in_half_precision(line):
    with pytest.raises(recipe.RecipeError, match=r"needs float32 weights: set precision=autocast or float32"):
        quick("precision=half", line)
