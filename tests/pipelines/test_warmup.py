"""The warm-up meets everything that a trial meets, and nothing of the data."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from pipelines import recipe, warmup
from pipelines.data import split
from pipelines.techniques import lookahead
from pipelines.techniques.growing_batch import gathered_batches
from pipelines.train import run_trial
from pipelines.warmup import STEPS, warm_up, warm_up_steps
from tests.pipelines.calling import calling
from tests.pipelines.test_trials_in_a_row import OneOfMany, quick, setup_for


def warm_up_recipes(chosen, images):
    return warmup.warm_up_recipes(chosen, images, warm_up_steps(chosen, images))


def test_a_warm_up_is_a_few_steps_of_the_recipe():
    (short,) = warm_up_recipes(quick(), 1437)
    assert short.steps(1437) == STEPS
    assert short.model_copy(update={"epochs": 2.0}) == quick()


@pytest.mark.parametrize("technique", ["ema={every: 7}", "lookahead={every: 7}"])
def test_a_warm_up_is_long_enough_for_what_a_technique_does_every_so_many_steps(technique):
    (short,) = warm_up_recipes(quick(f"techniques.{technique}"), 1437)
    assert short.steps(1437) == 7


def test_a_warm_up_is_long_enough_for_the_first_compressed_gradients():
    (short,) = warm_up_recipes(quick("parallel.compression=power_sgd", "parallel.power_sgd_start=6"), 1437)
    assert short.steps(1437) == 7


class Labels:
    """Keeps of which kinds the labels of a trial are: 1, class numbers; 2, probabilities."""

    def trial_start(self, state):
        self.kinds = []

    def gradients_ready(self, state):
        self.kinds.append(state.labels.ndim)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize(
    ("window", "kinds"),
    [
        ("from_epoch: 2", [1, 2, 2]),
        ("until: 2", [1, 2, 2]),
        ("from_epoch: 1, until: 2", [1, 2, 2]),
        ("from_epoch: 0", [2, 2, 2]),
    ],
)
def test_a_warm_up_mixes_images_whenever_the_recipe_does(digits, name, window, kinds):
    (short,) = warm_up_recipes(quick(f"techniques.{name}={{{window}}}", "epochs=3"), 1437)
    labels = Labels()
    run_trial(setup_for(short, digits), seed=0, observers=[labels])
    assert labels.kinds == kinds


def test_a_warm_up_pulls_the_weights_back_whenever_the_recipe_does(digits, monkeypatch):
    (short,) = warm_up_recipes(quick("techniques.lookahead={every: 4, start_epoch: 1.5}"), 1437)
    pulls = []
    monkeypatch.setattr(lookahead, "pull", lambda slow, fast, decay: pulls.append(decay))
    run_trial(setup_for(short, digits), seed=0)
    assert short.steps(1437) == 4
    assert len(pulls) > 0


@pytest.mark.parametrize("growth", ["{epochs: [5, 10], batches: [2, 4]}", "{epochs: [0], batches: [2]}"])
def test_a_warm_up_has_a_step_of_two_batches_whenever_the_batch_grows(growth):
    chosen = quick(f"techniques.growing_batch={growth}")
    (short,) = warm_up_recipes(chosen, 1437)
    counts = gathered_batches(short.steps(1437), short.steps_per_epoch(1437), short.techniques.growing_batch)
    assert counts == [1, 0, 2]


def test_a_warm_up_is_no_longer_than_the_recipe():
    (short,) = warm_up_recipes(quick("epochs=0.1", "techniques.ema={every: 100}"), 1437)
    assert short.steps(1437) == quick("epochs=0.1").steps(1437) == 3


def test_a_smaller_last_batch_is_warmed_up_for_as_many_steps(digits, monkeypatch):
    """Its trainings have an epoch a step, and may have more epochs than the recipe."""
    steps = []
    counted = lambda setup, seed: steps.append(setup.recipe.steps(len(setup.dataset.train_images)))  # noqa: E731
    monkeypatch.setattr(warmup, "run_trial", counted)
    warm_up(setup_for(quick("drop_last=false", "batch_size=200", "techniques.ema={every: 7}"), digits))
    assert steps == [7, 7]


def test_a_warm_up_draws_its_images_whatever_the_weights_of_their_classes(digits):
    """The random labels of the last three images are 2, 6 and 7."""
    only_0_and_1 = "data.class_weights=[1, 1, 0, 0, 0, 0, 0, 0, 0, 0]"
    warm_up(setup_for(quick("drop_last=false", "batch_size=239", only_0_and_1), digits))


def test_a_warm_up_under_cuda_graphs_has_each_shape_twice():
    """With the first call of a shape torch records nothing."""
    overrides = ["compile=true", "augment.resolution={epochs: [0, 1], sizes: [6, 8]}"]
    once = list(warm_up_recipes(quick(*overrides), 1437))
    twice = list(warm_up_recipes(quick(*overrides, "compile_mode=reduce-overhead"), 1437))
    sizes = [[short.augment.resolution.sizes for short in shorts] for shorts in (once, twice)]
    assert sizes == [[(6,), (8,)], [(6,), (6,), (8,), (8,)]]


def test_a_warm_up_has_the_recipe_once_for_each_size_of_its_images():
    sizes = "augment.resolution={epochs: [0, 1], sizes: [6, 8]}"
    shorts = list(warm_up_recipes(quick(sizes), 1437))
    assert [short.augment.resolution.sizes for short in shorts] == [(6,), (8,)]


def test_a_warm_up_has_the_crop_of_each_size():
    crops = "augment.resolution={epochs: [0, 1], sizes: [4, 6], crops: [8, 6]}"
    resolutions = [short.augment.resolution for short in warm_up_recipes(quick(crops), 1437)]
    assert [(resolution.sizes, resolution.crops) for resolution in resolutions] == [((4,), (8,)), ((6,), (6,))]


def test_a_warm_up_freezes_the_whitening_bias_after_its_first_step_and_pretrains_for_one():
    chosen = recipe.load("cifar10/airbench94")
    (short,) = warm_up_recipes(chosen, 50_000)
    assert short.techniques.whitening_bias.epochs * chosen.steps_per_epoch(50_000) == pytest.approx(1)
    (short,) = warm_up_recipes(recipe.load("mnist/masked-image"), 6_000)
    assert short.techniques.masked_image.epochs * 6_000 < 1


@pytest.mark.parametrize(
    ("world", "overrides"),
    [
        (OneOfMany(0, 1), []),
        (OneOfMany(0, 1), ["drop_last=false"]),
        (OneOfMany(0, 2), []),
        (OneOfMany(2, 3), ["evaluation.train_accuracy=true"]),
        (OneOfMany(0, 1), ["data.fraction=0.2", "techniques.self_training={end_epoch: 2}", "epochs=4"]),
    ],
)
def test_warm_up_meets_every_shape_of_a_trial(digits, world, overrides):
    """What it does not meet would be compiled and tuned within the first trial's laps."""
    shapes = set()
    chosen = quick("batch_size=48", "evaluation.batch_size=50", *overrides)
    setup = setup_for(chosen, split.select(digits, chosen.data))
    network = setup.network
    watched = lambda images: shapes.add((network.training, *images.shape)) or network(images)  # noqa: E731
    setup = calling(setup, watched, world=world)
    lap = warm_up(setup)
    assert (lap.name, lap.epoch) == ("compile", None)
    warmed = set(shapes)
    run_trial(setup, seed=0)
    assert shapes - warmed == set()


SMALL_E1 = [
    "precision=float32",
    "model.widths=[4,4,4]",
    "model.whitening.images=40",
    "batch_size=16",
    "epochs=4",
    "augment.resolution={epochs: [0, 1, 2], sizes: [24, 28, 32]}",
    "evaluation.batch_size=20",
    "techniques.whitening_bias.epochs=1.5",
    "techniques.freeze_out={epochs: [2, 2.5]}",
    "techniques.lookahead.start_epoch=2",
]


@pytest.mark.parametrize("drop_last", ["true", "false"])
@pytest.mark.parametrize("tta_share", [1.0, 0.4])
def test_warm_up_meets_every_graph_of_a_trial(coloured, drop_last, tta_share):
    """Those of each size of the images, those with and without a gradient of the whitening's bias and of the first
    stages, and those of the test images that get more views."""
    views = f"evaluation={{tta: flip, tta_share: {tta_share}, batch_size: 7}}"
    chosen = recipe.load("cifar10/e1", [*SMALL_E1, "batch_size=12", f"drop_last={drop_last}", views])
    setup = setup_for(chosen, coloured)
    network, graphs = setup.network, set()

    def watched(images, train_whitening_bias=True, frozen_stages=0):
        graphs.add((network.training, train_whitening_bias, frozen_stages, *images.shape))
        return network(images, train_whitening_bias, frozen_stages)

    setup = calling(setup, watched)
    warm_up(setup)
    warmed = set(graphs)
    graphs.clear()
    run_trial(setup, seed=0)
    assert {shape[-1] for shape in graphs} == {24, 28, 32}
    trained = {(train, frozen) for training, train, frozen, *_ in graphs if training}
    assert trained == {(True, 0), (False, 0), (False, 1), (False, 2)}
    assert graphs - warmed == set()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_each_size_is_compiled_for_itself_in_warm_up_alone(coloured, monkeypatch):
    """Without inductor, which would take minutes: what matters is when torch.compile makes a graph, and of which."""
    shapes = []

    def backend(graph, inputs):
        shapes.append([tensor.shape for tensor in inputs if isinstance(tensor, torch.Tensor) and tensor.ndim == 4])
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    setup = setup_for(recipe.load("cifar10/e1", [*SMALL_E1, "compile=true"]), coloured)
    warm_up(setup)
    assert all(isinstance(side, int) for made in shapes for shape in made for side in shape)
    assert {shape[-1] for made in shapes for shape in made} >= {24, 28, 32}
    made_in_warm_up = len(shapes)
    with torch.compiler.set_stance("fail_on_recompile"):
        run_trial(setup, seed=0)
    assert len(shapes) == made_in_warm_up > 8, "torch.compile's own limit"


def test_warm_up_sees_none_of_the_images(digits):
    black = replace(
        digits, train_images=np.zeros_like(digits.train_images), test_images=np.zeros_like(digits.test_images)
    )
    setup = setup_for(quick("augment.crop=0"), black)
    network, darkest = setup.network, []
    setup = calling(setup, lambda images: darkest.append(images.flatten(1).var(1).min()) or network(images))
    warm_up(setup)
    assert min(darkest) > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_network_is_compiled_in_warm_up_alone(digits):
    chosen = quick("compile=true", "batch_size=100", "evaluation.batch_size=70", "drop_last=false")
    setup = setup_for(chosen, digits)
    assert warm_up(setup).seconds > 0
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled = run_trial(setup, seed=0)
    eager = run_trial(setup_for(chosen.model_copy(update={"compile": False}), digits), seed=0)
    losses, expected = ([result.train_loss for result in trial.epochs] for trial in (compiled, eager))
    assert losses == pytest.approx(expected, rel=0.02)
