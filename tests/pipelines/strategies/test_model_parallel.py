"""Processes that share one copy of a network train the weights of one process, up to float32's rounding."""

import random
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from torch.distributed.tensor import DTensor

from pipelines import preflight, recipe
from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.models import build_network, sequence
from pipelines.strategies import tensor
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes

RELATIVE = 1e-5
"""to the norm of all weights and statistics: sums in another order are rounded differently"""
SMALL = [
    *("data.limit=101", "batch_size=16", "epochs=2", "augment.crop=0", "evaluation.batch_size=50"),
    *("model.widths=[8,16]", "model.hidden=12", "model.norm={}", "optimizer.lr=0.02"),
]
MICRO_BATCHES = ["accumulation=4"]
UNEVEN = ["drop_last=false", "optimizer.lr=0.1"]
"""The last batch has 5 images. At this rate, the weights of 1 and 4 processes differ by less than 1e-7 of their norm
after every step, uneven batches included. Copies with batch norms differ by 3e-4 after the first, even batch,
because each copy normalises with its own share: hence norm=null where there are copies."""

MIXED = "techniques={mixup: {}, cutmix: {}}"
HALF = "model.dropout.head=0.5"

ALEXNET = ["model=null", "model={name: alexnet, kernel_size: 3, stride: 1, widths: [8, 12, 12, 12, 8], hidden: 10}"]

JOBS = {
    2: {
        "GPipe": (["parallel={strategy: pipeline, schedule: gpipe}"], MICRO_BATCHES),
        "1F1B": (["parallel={strategy: pipeline, cut: [head]}"], [*MICRO_BATCHES, MIXED]),
        "interleaved": (["parallel={strategy: pipeline, schedule: interleaved, stages_per_process: 2}"], MICRO_BATCHES),
        "model": (["parallel.strategy=model"], [*UNEVEN, MIXED]),
        "tensor": (["parallel.strategy=tensor"], UNEVEN),
        "columns": (["parallel.strategy=columns"], [*ALEXNET, *UNEVEN]),
        "columns, micro-batches": (["parallel.strategy=columns"], [*ALEXNET, *MICRO_BATCHES]),
        "tensor, no hidden layer": (["parallel.strategy=tensor", "model.hidden=null"], MICRO_BATCHES),
        "tensor, dropout": (["parallel.strategy=tensor"], [*UNEVEN, HALF]),
        "tensor, dropout of whole features": (["parallel.strategy=tensor", "model.hidden=null"], [*UNEVEN, HALF]),
        "columns, dropout": (["parallel.strategy=columns"], [*ALEXNET, *UNEVEN, HALF]),
    },
    4: {
        "four stages": (["parallel.strategy=pipeline"], MICRO_BATCHES),
        "two stages, two copies": (["parallel={strategy: pipeline, size: 2}", "model.norm=null"], MICRO_BATCHES),
        "tensor": (["parallel.strategy=tensor"], MICRO_BATCHES),
        "DDP": ([], ["model.norm=null", *UNEVEN]),
        "tensor, two copies": (["parallel={strategy: tensor, size: 2}", "model.norm=null"], UNEVEN),
        "columns, two copies": (["parallel={strategy: columns, size: 2}"], [*ALEXNET, *UNEVEN]),
        "HSDP": (["parallel={strategy: fsdp2, size: 2}", "model.norm=null"], UNEVEN),
        "model, two copies": (["parallel={strategy: model, size: 2}", "model.norm=null"], UNEVEN),
    },
}


def enlarged(dataset):
    """With images of 16 x 16, of which three poolings leave something."""
    train, test = (images.repeat(2, 1).repeat(2, 2) for images in (dataset.train_images, dataset.test_images))
    return replace(dataset, train_images=train, test_images=test)


class WholeWeights:
    """The weights and statistics at the end of a trial, of all processes."""

    def trial_end(self, state):
        named = [*state.network.named_parameters(), *state.network.named_buffers()]
        self.weights = {}
        for name, values in named:
            is_of_columns = state.recipe.parallel.strategy == "columns" and not name.startswith("head")
            self.is_cut = is_of_columns and values.ndim > 0  # a rate of dropout is whole
            self.weights[name] = self.whole(values.detach(), state.world.model)

    def whole(self, values, model):
        if isinstance(values, DTensor):
            return values.full_tensor()
        held = [each for each in model.gather(None if values.is_meta else values.clone()) if each is not None]
        return torch.cat(held) if self.is_cut else held[0]


def train(world, jobs):
    """What is left of the second of two trials, for each recipe."""
    found = []
    for chosen, dataset in jobs:
        setup, observer = set_up(chosen, split.select(dataset, chosen.data), world), WholeWeights()
        run_trial(setup, seed=4)
        trial = run_trial(setup, seed=5, observers=[observer])
        losses = [result.train_loss for result in trial.epochs]
        found.append((observer.weights, losses, [result.accuracy for result in trial.epochs], trial.notes))
    return found


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_weights_of_one_process(tmp_path, digits, size):
    chosen = [recipe.load("digits/quick", [*SMALL, *changes, *parallel]) for parallel, changes in JOBS[size].values()]
    jobs = [(one, enlarged(digits) if one.model.name == "alexnet" else digits) for one in chosen]
    alone = train(World(), jobs)
    ranks = in_processes(tmp_path, train, jobs, size=size)
    for name, one, first, last in zip(JOBS[size], alone, ranks[0], ranks[-1], strict=True):
        ours, theirs = (torch.cat([tensor.flatten() for tensor in each[0].values()]) for each in (first, one))
        assert (ours - theirs).norm() < RELATIVE * theirs.norm(), name
        assert first[1] == last[1] == pytest.approx(one[1], rel=1e-5), name
        assert first[2] == last[2] == one[2], name
        parallel = "".join(JOBS[size][name][0])
        is_pipeline = any(word in parallel for word in ("pipeline", "strategy=model", "strategy: model"))
        assert ("pipeline" in first[3]) == is_pipeline, name
        assert not is_pipeline or 0 < first[3]["pipeline"]["bubble"] < 1


def network(*overrides):
    return build_network(recipe.load("digits/quick", [*SMALL, *overrides]).model, (1, 8, 8), 10)


def starts(stages):
    return [part[0][0] for part in stages]


def test_a_stage_begins_with_weights_and_the_most_expensive_one_is_cheap():
    whole = network()
    assert starts(sequence.units(whole)) == ["layers.0", "layers.4", "layers.9", "head"]
    assert starts(sequence.cut(whole, 2, [1, 1, 1, 9])) == ["layers.0", "head"]
    assert starts(sequence.cut(whole, 2, [5, 3, 1, 1])) == ["layers.0", "layers.4"]
    assert starts(sequence.cut(whole, 3, [1, 1, 1, 1], ["layers.4", "head"])) == ["layers.0", "layers.4", "head"]


@pytest.mark.parametrize(("name", "second"), [("cifar10/davidnet-10", "layers.1"), ("cifar10/airbench94", "layers.2")])
def test_a_frozen_whitening_layer_is_no_stage(name, second):
    whole = build_network(recipe.load(name).model, (3, 32, 32), 10)
    assert starts(sequence.units(whole))[:2] == ["whiten", second]


def test_the_cheapest_cut_is_the_first_of_the_best_of_all():
    generator = random.Random(0)
    for _ in range(200):
        costs = generator.choices(range(5), k=generator.randint(1, 7))
        stages = generator.randint(1, len(costs))
        cuts = [[0, *inner, len(costs)] for inner in combinations(range(1, len(costs)), stages - 1)]
        expected = min(cuts, key=lambda cut: max(sum(costs[a:b]) for a, b in pairwise(cut)))
        assert sequence.cheapest_bounds(costs, stages) == expected


def test_a_cut_of_many_layers_is_found_without_trying_all():
    assert sequence.cheapest_bounds([1] * 60, 10) == [*range(0, 61, 6)]


@pytest.mark.parametrize(
    ("stages", "names", "message"),
    [
        (5, [], "a network of 4 layers with trained weights has no 5 stages"),
        (2, ["layers.5"], "layers.5.*of .'layers.4', 'layers.9', 'head'"),
        (3, ["head", "layers.4"], "in their order"),
        (3, ["head"], "3 stages need 2 of"),
    ],
)
def test_cuts_that_cannot_be(stages, names, message):
    with pytest.raises(ValueError, match=message):
        sequence.cut(network(), stages, [1, 1, 1, 1], names)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["parallel.size=2"], "does nothing under parallel.strategy=ddp: set .*=pipeline or parallel.size=null"),
        (["parallel.zero_stage=1"], "parallel.zero_stage=1 does nothing under .*=ddp: set .*=deepspeed"),
        (["parallel.local_sgd_period=2"], "parallel.local_sgd_period=2 does nothing"),
        (
            ["parallel.power_sgd_rank=2"],
            "parallel.power_sgd_rank=2 does nothing without",
        ),
        (
            ["parallel={strategy: fsdp2, bucket_mb: 4}"],
            "parallel.bucket_mb=4.0 does nothing under .*: set .*=ddp",
        ),
        (["parallel={strategy: local_sgd, compression: fp16}"], "parallel.compression=fp16 does nothing"),
        (
            ["parallel={strategy: tensor, cut: [head]}"],
            "parallel.cut=.'head'. does nothing",
        ),
        (
            ["parallel={strategy: model}", "accumulation=2"],
            "accumulation=2 cannot be combined with parallel.strategy=model",
        ),
        (["parallel={strategy: pipeline}", "precision=autocast"], "set precision=float32"),
        (["parallel={strategy: pipeline}", "model.norm={sync: true}"], "set sync=false"),
        (["parallel={strategy: pipeline}", "techniques.ema={}"], "techniques.ema needs the same weights"),
        (["parallel={strategy: pipeline, schedule: interleaved}"], "stages_per_process=2"),
        (["parallel={strategy: tensor}", "model.drop_connect=0.5"], "set model.drop_connect=0"),
        (["parallel={strategy: columns}"], "needs a network in two columns: set model.name=alexnet"),
        (["parallel={strategy: tensor}", "model={name: alexnet}"], "set parallel.strategy=columns"),
        (["parallel={strategy: deepspeed, size: 2}"], "parallel.size=2 does nothing"),
        (["parallel={strategy: model, schedule: gpipe}"], "parallel.schedule=gpipe does nothing"),
    ],
)
def test_what_cannot_be_combined(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe.load("digits/quick", overrides)


@pytest.mark.parametrize("strategy", ["pipeline", "model", "tensor"])
def test_networks_of_torchvision_are_not_cut(strategy):
    with pytest.raises(ValueError, match="use ddp or fsdp2"):
        recipe.load("throughput/resnet18-cifar", [f"parallel.strategy={strategy}", "precision=float32"])


def test_linear_layers_have_equal_slices():
    with pytest.raises(ValueError, match="12 features of head into equal slices, and 5 processes"):
        tensor.plan(network(), 5)


def test_columns_are_two(digits):
    chosen = recipe.load("digits/quick", ["parallel={strategy: columns}", *ALEXNET])
    with pytest.raises(ValueError, match="has two columns, and 4 processes share them: set parallel.size=2"):
        preflight.meshed(chosen, World(0, 4))


def test_the_size_divides_the_processes(digits):
    chosen = recipe.load("digits/quick", ["parallel={strategy: pipeline, size: 2}"])
    with pytest.raises(ValueError, match="parallel.size=2 does not divide 3 processes"):
        preflight.meshed(chosen, World(0, 3))
