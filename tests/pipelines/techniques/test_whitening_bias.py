import pytest
import torch

from pipelines import models
from pipelines.distributed.process_group import World
from pipelines.recipe import RecipeError, load
from pipelines.train import run_trial, set_up

OVERRIDES = ["precision=float32", "model.widths=[8,8,8]"]


def network(recipe):
    torch.manual_seed(0)
    built = models.build_network(recipe.model, (3, 32, 32), 10)
    built.whiten.fit(torch.randn(8, 32, 32, 3))
    return built


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_bias_gets_no_gradient_when_the_forward_function_says_so(compiled):
    """Also in a compiled network, which goes on to use a stale graph if `requires_grad` is flipped instead."""
    recipe = load("cifar10/airbench94", OVERRIDES)
    built = network(recipe)
    forward = torch.compile(built, backend="aot_eager") if compiled else built
    images = torch.randn(4, 3, 32, 32)
    for train, expected in ((True, True), (False, False), (True, True)):
        built.zero_grad(set_to_none=True)
        forward(images, train_whitening_bias=train).sum().backward()
        assert (built.whiten.bias.grad is not None and bool(built.whiten.bias.grad.any())) == expected
        assert built.head.weight.grad.any()
        assert built.whiten.weight.grad is None


def test_frozen_and_trained_bias_give_the_same_logits():
    built = network(load("cifar10/airbench94", OVERRIDES)).eval()
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(built(images), built(images, train_whitening_bias=False))


def test_a_network_without_that_bias_is_refused():
    with pytest.raises(RecipeError, match="needs model.whitening.bias=true"):
        load("cifar10/davidnet-10", ["techniques.whitening_bias={epochs: 3}"])


class Bias:
    """Keeps the bias before the training and after each step."""

    def __init__(self):
        self.after = []

    def trial_start(self, state):
        self.step_end(state)

    def step_end(self, state):
        self.after.append(state.network.whiten.bias.detach().clone())


def test_less_than_half_a_step_is_one(coloured):
    small = ["model.whitening.images=40", "batch_size=16", "epochs=1", "techniques.lookahead=null"]
    chosen = load("cifar10/airbench94", [*OVERRIDES, *small, "techniques.whitening_bias.epochs=0.01"])
    setup, bias = set_up(chosen, coloured, World()), Bias()
    run_trial(setup, 0, [bias])
    assert [torch.equal(one, bias.after[1]) for one in bias.after] == [False, True, True, True, True, True]
