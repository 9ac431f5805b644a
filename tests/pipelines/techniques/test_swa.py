from dataclasses import dataclass

import pytest
import torch
from torch import nn

from kernels import choice
from kernels.cpu.fused import fused_version
from pipelines import models
from pipelines.distributed.process_group import World
from pipelines.models.layers import BatchNorm, GhostBatchNorm
from pipelines.recipe import RecipeError, load, networks
from pipelines.techniques.swa import estimate_statistics
from pipelines.train import run_trial, set_up
from tests.kernels.cpu.chains import distance, needs_kernels

SMALL = ["model.widths=[4,4,6,8]", "model.norm.group_size=8", "model.whitening.images=40", "batch_size=16"]
PLAIN = [*SMALL, "epochs=4", "schedule.epochs=[0,1,4]", "optimizer.lr=0.1", "techniques.ema=null"]
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no fast bfloat16"
)


class Watch:
    """Comes after the technique: keeps the trained weights of each step and what is evaluated, in full precision."""

    def __init__(self):
        self.trained, self.evaluated, self.back = [], [], []

    def floats(self, state):
        return [tensor.double().clone() for tensor in state.optimizer.master_tensors(state.network)]

    def step_end(self, state):
        self.trained.append(self.floats(state))

    def evaluation_start(self, state):
        self.evaluated.append(self.floats(state))

    def evaluation_end(self, state):
        self.back.append(self.floats(state))


def trial_of(dataset, *overrides):
    watch = Watch()
    setup = set_up(load("cifar10/davidnet-10", [*PLAIN, *overrides]), dataset, World())
    return run_trial(setup, 0, observers=[watch]), watch, setup


def parameters(setup, tensors):
    """Those of the tensors that are parameters, and not statistics."""
    names = [name for name, tensor in setup.network.state_dict().items() if tensor.is_floating_point()]
    return [tensor for name, tensor in zip(names, tensors, strict=True) if "running" not in name]


def equal(ones, others):
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("precision", ["float32", pytest.param("half", marks=needs_bfloat16)])
@pytest.mark.parametrize(("start", "counted"), [(0.5, [10, 15, 20]), (0.6, [15, 20]), (0.99, [20])])
def test_the_mean_of_the_weights_at_epoch_ends_is_evaluated(coloured, precision, start, counted):
    _, watch, setup = trial_of(coloured, f"techniques.swa={{start: {start}}}", f"precision={precision}")
    for epoch, evaluated in enumerate(watch.evaluated, start=1):
        steps = [step for step in counted if step <= 5 * epoch] or [5 * epoch]
        mean = [sum(tensors) / len(steps) for tensors in zip(*(watch.trained[s - 1] for s in steps), strict=True)]
        for used, expected in zip(parameters(setup, evaluated), parameters(setup, mean), strict=True):
            torch.testing.assert_close(used, expected, rtol=1e-4, atol=1e-5)


def test_the_training_goes_on_from_its_own_weights_and_statistics(coloured):
    plain, without, _ = trial_of(coloured)
    averaged, watch, _ = trial_of(coloured, "techniques.swa={start: 0}")
    assert all(equal(one, other) for one, other in zip(watch.trained, without.trained, strict=True))
    assert all(equal(one, other) for one, other in zip(watch.back, without.trained[4::5], strict=True))
    assert [result.train_loss for result in averaged.epochs] == [result.train_loss for result in plain.epochs]


def norm_of(group_size):
    config = networks.Norm(group_size=group_size, momentum=0.3)
    return GhostBatchNorm(3, config) if group_size else BatchNorm(3, config)


class Twice(World):
    """Two processes of which the other has statistics of zero."""

    def sum(self, values):
        return values


@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize(("world", "processes"), [(World(), 1), (Twice(0, 2), 2)])
def test_statistics_are_the_mean_of_those_of_the_batches(group_size, world, processes):
    torch.manual_seed(0)
    norm = norm_of(group_size)
    network = nn.Sequential(norm, nn.Dropout(0.5))
    norm.running_mean.fill_(7)
    batches = [3 * torch.randn(8, 3, 5, 5) + 1 for _ in range(4)]
    before = torch.get_rng_state()
    estimate_statistics(network, network, batches, world)
    assert torch.equal(before, torch.get_rng_state())
    groups = [group for batch in batches for group in batch.split(group_size or 8)]
    mean = torch.stack([group.mean((0, 2, 3)) for group in groups]).mean(0)
    variance = torch.stack([group.transpose(0, 1).flatten(1).var(1) for group in groups]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean / processes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variance / processes, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.3


def test_statistics_are_those_of_the_averaged_weights(coloured):
    """Of the micro-batches, as in training. The last epoch's images still lie in memory when it is evaluated."""

    @dataclass
    class Statistics:
        seen: list

        def evaluation_start(self, state):
            norms = [module for module in state.network.modules() if isinstance(module, BatchNorm)]
            now = [statistic.clone() for norm in norms for statistic in (norm.running_mean, norm.running_var)]
            images = (part for batch, _ in state.batches for part in batch.split(8))
            estimate_statistics(state.network, state.network, images, state.world)
            again = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
            torch.testing.assert_close(now, again)
            self.seen.append(len(norms))

    observer = Statistics([])
    chosen = load("cifar10/davidnet-10", [*PLAIN, "techniques.swa={start: 0}", "accumulation=2", "precision=float32"])
    run_trial(set_up(chosen, coloured, World()), 0, observers=[observer])
    assert len(observer.seen) == 4
    assert min(observer.seen) > 0


@needs_kernels
def test_statistics_are_the_same_by_blocks_and_by_layers(monkeypatch):
    """The norms alone are in training mode."""
    monkeypatch.setattr(choice, "_version", "auto")  # to be restored
    config = load("cifar10/davidnet-10", ["model.widths=[4,4,6,8]"]).model
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = []
    for version in ("reference", "fast"):
        choice.use(version)
        torch.manual_seed(0)
        network = models.to_precision(models.build_network(config, (3, 32, 32), 10), torch.bfloat16, channels_last=True)
        estimate_statistics(network, network, [images], World())
        norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
        found.append(torch.cat([statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]))
    assert choice.ran() == (fused_version(),)
    by_layers, by_blocks = found
    assert distance(by_blocks, by_layers) < 0.05


def test_a_loader_that_hands_its_batches_out_once_is_refused():
    load("digits/quick", ["techniques.swa={}", "loader={name: bulk}"])
    with pytest.raises(RecipeError, match="loader.name=torchvision would draw different ones"):
        load("digits/quick", ["techniques.swa={}", "loader={name: torchvision}"])


@pytest.mark.parametrize("other", ["ema={}", "ensemble={}", "early_stopping={}"])
def test_two_techniques_that_decide_what_is_evaluated_are_refused(other):
    with pytest.raises(RecipeError, match=r"each decide which weights are evaluated"):
        load("digits/quick", ["techniques.swa={}", f"techniques.{other}", "data.validation=0.1"])
