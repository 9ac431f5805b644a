"""A trial depends on its seed alone, whatever was trained or warmed up with the same setup before."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
import yaml

from pipelines import recipe, train
from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up
from tests.pipelines.calling import calling

CPU = torch.device("cpu")
DAVIDNET = ["model.widths=[4,4,6,8]", "model.norm.group_size=8", "model.whitening.images=40", "batch_size=16"]


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=2", *overrides])


def davidnet(*overrides):
    small = [*DAVIDNET, "epochs=2", "schedule.epochs=[0,1,2]", "optimizer.lr=0.1"]
    return recipe.load("cifar10/davidnet-10", [*small, *overrides])


def setup_for(chosen, dataset):
    return set_up(chosen, dataset, World())


def outcome(trial, setup):
    """All of a trial but times and memory, and the weights that it left."""
    weights = {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}
    return (trial.outcome, trial.accuracy, trial.accuracy_plain, trial.epochs, trial.steps, trial.samples), weights


def same(one, other):
    return one[0] == other[0] and all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def test_the_same_seed_gives_the_same_trial_bit_for_bit(digits):
    chosen = quick("augment={crop: 1, flip: random, cutout: 2}")
    results = []
    for seed in (3, 3, 4):
        setup = setup_for(chosen, digits)
        results.append(outcome(run_trial(setup, seed), setup))
    first, again, other = results
    assert same(first, again)
    assert first[0][3] != other[0][3]


@pytest.mark.parametrize("precision", ["half", "float32"])
def test_nothing_leaks_from_warm_up_or_another_trial(coloured, precision):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported() and precision == "half":
        pytest.skip("this CPU has no fast bfloat16")
    chosen = davidnet(
        f"precision={precision}", "techniques.ema={momentum: 0.9, every: 2}", "augment={crop: 4, flip: alternating}"
    )
    used, fresh = setup_for(chosen, coloured), setup_for(chosen, coloured)
    warm_up(used)
    run_trial(used, seed=0)
    again, first = outcome(run_trial(used, seed=1), used), outcome(run_trial(fresh, seed=1), fresh)
    equal = same(again, first)
    assert equal


def test_nothing_leaks_from_a_trial_that_was_broken_off(digits):
    class Stop:
        def gradients_ready(self, state):
            if state.step == 7:
                raise KeyboardInterrupt

    used, fresh = setup_for(quick(), digits), setup_for(quick(), digits)
    with pytest.raises(KeyboardInterrupt):
        run_trial(used, seed=0, observers=[Stop()])
    again, first = outcome(run_trial(used, seed=1), used), outcome(run_trial(fresh, seed=1), fresh)
    equal = same(again, first)
    assert equal


@pytest.mark.parametrize(
    "loader",
    ["{name: bulk}", *(f"{{name: torchvision, workers: {n}, preprocess: once, choices: bulk}}" for n in (0, 1))],
)
def test_the_loader_does_not_change_a_trial(coloured, loader):
    """On a CPU all that draw in bulk serve the same pixels; the whitening too sees the same images."""
    chosen = davidnet("precision=float32", "augment={crop: 4, flip: random, cutout: 4}", "drop_last=false")
    results = []
    for settings in ("{name: resident}", loader):
        setup = setup_for(
            recipe.validate(chosen.model_dump() | {"loader": yaml.safe_load(settings)}, "loader"), coloured
        )
        warm_up(setup)
        results.append(outcome(run_trial(setup, 1), setup))
    equal = same(*results)
    assert equal


def test_trials_with_workers_depend_on_their_seeds_alone(digits):
    chosen = quick("augment={crop: 1, flip: random}", "loader={name: torchvision, workers: 1}", "epochs=1")
    used, fresh = setup_for(chosen, digits), setup_for(chosen, digits)
    run_trial(used, seed=0)
    again, first = outcome(run_trial(used, seed=1), used), outcome(run_trial(fresh, seed=1), fresh)
    equal = same(again, first)
    assert equal


@dataclass(frozen=True)
class OneOfMany(World):
    """One process, looked at alone."""

    def broadcast(self, tensor):
        pass

    def sum(self, values):
        return values

    def maximum(self, values):
        return values


def test_ranks_share_the_order_and_augment_each_in_its_own_way(digits, monkeypatch):
    seeds = []
    make_loader = train.make_loader

    def watched(context):
        seeds.append((context.order_seed, context.augment_seed))
        return make_loader(context)

    monkeypatch.setattr(train, "make_loader", watched)
    setup = setup_for(quick("epochs=0.1"), digits)
    for rank, seed in ((0, 7), (1, 7), (0, 7), (0, 8)):
        run_trial(replace(setup, world=OneOfMany(rank, 2)), seed)
    first, other_rank, again, other_seed = seeds
    assert first == again
    assert first[0] == other_rank[0] != other_seed[0]
    assert len({first[1], other_rank[1], other_seed[1]}) == 3


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
    "epochs=3",
    "augment.resolution={epochs: [0, 1, 2], sizes: [24, 28, 32]}",
    "evaluation.batch_size=20",
    "techniques.whitening_bias.epochs=1.5",
    "techniques.lookahead.start_epoch=2",
]


@pytest.mark.parametrize("drop_last", ["true", "false"])
def test_warm_up_meets_every_graph_of_a_trial(coloured, drop_last):
    """Those of each size of the images, and those with and without a gradient of the whitening's bias."""
    setup = setup_for(recipe.load("cifar10/e1", [*SMALL_E1, "batch_size=12", f"drop_last={drop_last}"]), coloured)
    network, graphs = setup.network, set()

    def watched(images, train_whitening_bias=True):
        graphs.add((network.training, train_whitening_bias, *images.shape))
        return network(images, train_whitening_bias)

    setup = calling(setup, watched)
    warm_up(setup)
    warmed = set(graphs)
    graphs.clear()
    run_trial(setup, seed=0)
    assert {shape[-1] for shape in graphs} == {24, 28, 32}
    assert {train for training, train, *_ in graphs if training} == {True, False}
    assert graphs - warmed == set()


@pytest.mark.slow
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
@pytest.mark.parametrize("drop_last", ["true", "false"])
def test_a_compiled_network_is_compiled_in_warm_up_alone(digits, drop_last):
    chosen = quick("compile=true", "batch_size=100", "evaluation.batch_size=70", f"drop_last={drop_last}")
    setup = setup_for(chosen, digits)
    assert warm_up(setup).seconds > 0
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled = run_trial(setup, seed=0)
    eager = run_trial(setup_for(chosen.model_copy(update={"compile": False}), digits), seed=0)
    losses, expected = ([result.train_loss for result in trial.epochs] for trial in (compiled, eager))
    assert losses == pytest.approx(expected, rel=0.02)
