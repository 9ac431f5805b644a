"""A trial depends on its seed alone, whatever was trained or warmed up with the same setup before."""

from dataclasses import dataclass, replace

import pytest
import torch
import yaml

from pipelines import recipe, train
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up

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

    def barrier(self):
        pass


@pytest.mark.parametrize(
    ("options", "shares_augmentation"),
    [([], True), (["parallel.augmentation=per_rank"], False), (["loader={name: torchvision, workers: 0}"], False)],
)
def test_ranks_share_the_order_and_where_it_is_drawn_in_bulk_the_augmentation(
    digits, monkeypatch, options, shares_augmentation
):
    seeds = []
    make_loader = train.make_loader

    def watched(context):
        seeds.append((context.order_seed, context.augment_seed))
        return make_loader(context)

    monkeypatch.setattr(train, "make_loader", watched)
    setup = setup_for(quick("epochs=0.1", *options), digits)
    for rank, seed in ((0, 7), (1, 7), (0, 7), (0, 8)):
        run_trial(replace(setup, world=OneOfMany(rank, 2)), seed)
    first, other_rank, again, other_seed = seeds
    assert first == again
    assert first[0] == other_rank[0] != other_seed[0]
    assert (first[1] == other_rank[1]) == shares_augmentation
    assert other_seed[1] not in (first[1], other_rank[1])
