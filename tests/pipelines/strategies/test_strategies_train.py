"""Two real processes train under each strategy what one process trains, up to float32's rounding."""

import importlib.util

import pytest
import torch

from pipelines import recipe
from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes

RELATIVE = 1e-5
"""to the norm of all weights and statistics: sums in another order are rounded differently"""

HAS_DEEPSPEED = importlib.util.find_spec("deepspeed") is not None
STRATEGIES = {"DDP": [], "FSDP2": ["parallel.strategy=fsdp2"]}
if HAS_DEEPSPEED:
    STRATEGIES |= {f"ZeRO-{n}": ["parallel.strategy=deepspeed", f"parallel.zero_stage={n}"] for n in range(4)}
"""By their name in the record, what the recipe says"""


class WholeWeights:
    """The weights at the end of a trial, gathered from all processes."""

    def trial_end(self, state):
        self.weights = {name: whole(tensor) for name, tensor in state.network.named_parameters()}
        self.weights |= {name: buffer.clone() for name, buffer in state.network.named_buffers()}


def whole(parameter):
    if hasattr(parameter, "full_tensor"):
        return parameter.full_tensor().detach().clone()
    if hasattr(parameter, "ds_status"):  # of ZeRO-3
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.detach().clone()


def train(world, jobs):
    """What a test wants to know of each job: a recipe, its data and the number of trials in a row."""
    torch.set_num_threads(1)
    found = []
    for chosen, dataset, count in jobs:
        setup, observer = set_up(chosen, split.select(dataset, chosen.data), world), WholeWeights()
        trials = [run_trial(setup, seed=5, observers=[observer]) for _ in range(count)]
        accuracies = [[result.accuracy for result in trial.epochs] for trial in trials]
        losses = [result.train_loss for result in trials[-1].epochs]
        found.append((setup.strategy.name, observer.weights, accuracies, losses))
    return found


def flat(weights):
    return torch.cat([tensor.flatten() for tensor in weights.values() if tensor.is_floating_point()])


UNEVEN = ["data.limit=101", "batch_size=16", "drop_last=false", "epochs=2", "model.widths=[8,16]"]
QUICK = [*UNEVEN, "evaluation.batch_size=50", "optimizer.lr=0.02"]
"""The last batch has 5 images, which two processes cannot share equally, and of the 101 test images in batches of 50
only one of them has a second batch"""
SMALL = ["model.widths=[4,4,6,8]", "batch_size=16", "epochs=4", "schedule.epochs=[0,1,4]", "precision=float32"]
DAVIDNET = [*SMALL, "optimizer.lr=0.01", "techniques.ema=null"]
GHOST = [*DAVIDNET, "model.norm={group_size: 4}", "model.whitening={images: 40, bias: true}"]

LARGE = "more than the 100,000 numbers that DeepSpeed leaves whole"
RECIPES = {
    "SGD": ("digits/quick", QUICK),
    "AdamW": ("digits/quick", [*QUICK, "optimizer={name: adamw, lr: 0.001}"]),
    LARGE: ("digits/quick", [*QUICK, "model.widths=[100,120]", "epochs=1"]),
    "ghost norm": ("cifar10/davidnet-10", GHOST),
    "frozen bias": ("cifar10/davidnet-10", [*GHOST, "techniques.whitening_bias.epochs=2"]),
    "frozen stages": ("cifar10/davidnet-10", [*GHOST, "techniques.freeze_out={epochs: [1, 2, 2.5]}"]),
    "SyncBN": ("cifar10/davidnet-10", [*DAVIDNET, "model.norm={sync: true, group_size: null}"]),
    "accumulation": ("digits/quick", [*QUICK, "accumulation=4", "drop_last=true"]),
    "EMA": ("digits/quick", [*QUICK, "techniques.ema={momentum: 0.8, every: 2}"]),
}
"""Without norms of each process's own, which no number of processes has in common"""
FROZEN = ["frozen bias", "frozen stages"]
REFUSED = {"DDP": [], "FSDP2": ["EMA"], "ZeRO-3": ["EMA", *FROZEN]}
"""What a strategy refuses to train; the others: `FROZEN`"""
FEW = {f"ZeRO-{n}": ["SGD", LARGE, "accumulation"] for n in range(3)}
"""All that is trained by strategies of which another one cuts more: ZeRO-3 cuts what these do"""


AUTOCAST = "bfloat16, which rounds what one process rounds, but not in the same places"


def jobs_of(digits, coloured, options=(), refused=()):
    """By name, each recipe with its data, and the first one twice: every trial begins anew."""
    data = {"digits/quick": digits, "cifar10/davidnet-10": coloured}
    jobs = {
        name: (recipe.load(base, [*overrides, *options]), data[base], 2 if name == "SGD" else 1)
        for name, (base, overrides) in RECIPES.items()
        if name not in refused
    }
    return jobs | {AUTOCAST: (recipe.load("digits/quick", [*QUICK, "precision=autocast", *options]), digits, 1)}


TORCHVISION = [
    ("squeezenet1_1", 1),
    ("resnet18", 0.2),  # a step: norms over few values make any difference of rounding large in a few more
]
"""architectures and epochs of five steps"""


@pytest.mark.slow
def test_a_network_of_torchvision_trains_the_same_weights_under_ddp_and_fsdp2(tmp_path, coloured):
    """In one launch. One process would train others: each of two normalises with its own half of a batch."""
    jobs = []
    for architecture, epochs in TORCHVISION:
        model = f"model={{name: torchvision, architecture: {architecture}}}"
        plain = [model, f"epochs={epochs}", "batch_size=16", "optimizer={name: sgd, lr: 0.01, momentum: 0.9}"]
        for options in (STRATEGIES["DDP"], STRATEGIES["FSDP2"]):
            jobs.append((recipe.load("throughput/resnet18-cifar", [*plain, *options]), coloured, 1))
    for found in in_processes(tmp_path, train, jobs):
        for ddp, fsdp2 in zip(found[::2], found[1::2], strict=True):
            assert (ddp[0], fsdp2[0]) == ("DDP", "FSDP2")
            assert (flat(ddp[1]) - flat(fsdp2[1])).norm() < RELATIVE * flat(ddp[1]).norm()
            assert fsdp2[3] == pytest.approx(ddp[3], rel=1e-5)


@pytest.mark.slow
def test_two_processes_train_what_one_does_under_each_strategy(tmp_path, digits, coloured):
    """In one launch, because a process takes longer to start than to train."""
    jobs = jobs_of(digits, coloured)
    alone = dict(zip(jobs, train(World(), list(jobs.values())), strict=True))
    wanted = {
        (strategy, name): job
        for strategy, options in STRATEGIES.items()
        for name, job in jobs_of(digits, coloured, options, REFUSED.get(strategy, FROZEN)).items()
        if name in FEW.get(strategy, jobs)
    }
    ranks = in_processes(tmp_path, train, list(wanted.values()))
    for (strategy, name), first, last in zip(wanted, *ranks, strict=True):
        _, weights, accuracies, losses = alone[name]
        assert first[0] == strategy
        assert all(torch.equal(first[1][key], last[1][key]) for key in weights), (strategy, name)
        assert first[2] == last[2], (strategy, name)
        if name == AUTOCAST:
            assert first[3] == pytest.approx(losses, rel=0.01), strategy
            continue
        assert (flat(first[1]) - flat(weights)).norm() < RELATIVE * flat(weights).norm(), (strategy, name)
        assert first[2] == accuracies, (strategy, name)
        assert first[3] == pytest.approx(losses, rel=1e-4), (strategy, name)
