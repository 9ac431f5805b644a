import pytest
import torch

from pipelines import models
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate, flops
from pipelines.recipe import RecipeError, load
from pipelines.train import run_trial, set_up

E1 = [
    "precision=float32",
    "model.widths=[4,4,4]",
    "model.whitening.images=40",
    "batch_size=16",
    "epochs=3",
    "schedule.epochs=[0,3]",
    "techniques.lookahead=null",
    "techniques.whitening_bias.epochs=0.5",
    "augment.resolution=null",
]


def network_of(name, *overrides):
    torch.manual_seed(0)
    network = models.build_network(load(name, ["precision=float32", *overrides]).model, (3, 32, 32), 10)
    for layer in models.whitening_layers(network):
        layer.fit(torch.randn(8, 32, 32, 3))
    return network


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "widths", "stages"),
    [
        ("cifar10/e1", "[8,8,8]", 3),
        ("cifar10/airbench96", "[8,8,8]", 3),
        ("cifar10/davidnet-10", "[4,4,6,8]", 6),
    ],
)
def test_frozen_stages_and_what_is_before_them_get_no_gradient(name, widths, stages, compiled):
    network = network_of(name, f"model.widths={widths}")
    assert len(models.stages(network)) == stages == load(name).model.stages
    forward = torch.compile(network, backend="eager") if compiled else network
    images = torch.randn(4, 3, 32, 32)
    for frozen in range(stages):
        network.zero_grad(set_to_none=True)
        forward(images, frozen_stages=frozen).square().sum().backward()
        expected = {id(one) for one in models.until_stage(network, frozen).parameters()} if frozen else set()
        for key, parameter in network.named_parameters():
            is_frozen = id(parameter) in expected or not parameter.requires_grad
            assert (parameter.grad is None) == is_frozen, key


def test_frozen_stages_give_the_same_logits():
    network = network_of("cifar10/e1", "model.widths=[8,8,8]").eval()
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(network(images), network(images, frozen_stages=2))


class Changes:
    """Which of the first two stages each step has changed."""

    def __init__(self):
        self.steps = []

    def trial_start(self, state):
        self.stages = models.stages(state.network)[:2]
        self.before = self.weights()

    def weights(self):
        return [[each.detach().clone() for each in stage.parameters()] for stage in self.stages]

    def step_end(self, state):
        now = self.weights()
        changed = [
            any(not torch.equal(*pair) for pair in zip(*both, strict=True))
            for both in zip(now, self.before, strict=True)
        ]
        self.steps.append(tuple(changed))
        self.before = now


def test_each_stage_is_trained_for_its_epochs(coloured):
    changes = Changes()
    setup = set_up(load("cifar10/e1", [*E1, "techniques.freeze_out={epochs: [1, 2.5]}"]), coloured, World())
    run_trial(setup, 0, [changes])
    per_epoch = setup.recipe.steps_per_epoch(len(coloured.train_images))
    first, second = per_epoch, round(2.5 * per_epoch)
    assert changes.steps == [(step < first, step < second) for step in range(3 * per_epoch)]


def test_a_stage_that_is_frozen_after_the_end_is_trained_like_any_other(coloured):
    results = []
    for line in ("techniques.freeze_out=null", "techniques.freeze_out={epochs: [9]}"):
        setup = set_up(load("cifar10/e1", [*E1, line]), coloured, World())
        run_trial(setup, 0)
        results.append([tensor.clone() for tensor in setup.network.state_dict().values()])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_the_estimate_leaves_out_the_backward_pass_of_what_is_frozen(coloured):
    cpu = torch.device("cpu")
    chosen = load("cifar10/e1", [*E1, "techniques.freeze_out={epochs: [1]}"])
    whole = estimate(load("cifar10/e1", E1), coloured, cpu).train_flops
    with torch.device("meta"):
        network = models.build_network(chosen.model, coloured.image_shape, 10)
        stage = flops(models.until_stage(network, 1), torch.empty(1, *coloured.image_shape))
    steps = 2 * chosen.steps_per_epoch(len(coloured.train_images))
    assert estimate(chosen, coloured, cpu).train_flops == whole - 2 * stage * steps * chosen.batch_size


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("cifar10/e1", ["techniques.freeze_out={epochs: [1, 2, 3]}"], r"freezes all 3 stages .* at most 2 epochs"),
        ("cifar10/e1", ["techniques.freeze_out={epochs: [4, 3]}"], r"epochs=\[4.0, 3.0\] must rise"),
        ("cifar10/e1", ["techniques.freeze_out={epochs: []}"], r"epochs=\[\]: it should be a longer list"),
        ("cifar10/airbench94", ["techniques.freeze_out={epochs: [2]}"], r"whitening_bias\.epochs=3: .* give at most 2"),
        ("digits/quick", ["techniques.freeze_out={epochs: [1]}"], r"model\.name=convnet has no stages to freeze"),
    ],
)
def test_what_cannot_be_frozen_is_refused(name, overrides, message):
    with pytest.raises(RecipeError, match=message):
        load(name, overrides)
