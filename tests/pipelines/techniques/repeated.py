"""Trials of one bench after another: the same seed trains the same weights, whatever ran before."""

import torch

from pipelines.train import run_trial
from pipelines.warmup import warm_up


def weights_of(bench):
    return [tensor.clone() for tensor in bench.network.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def check_nothing_leaks(used, fresh):
    """From a warm-up or another trial; of two equal benches."""
    warm_up(used)
    run_trial(used, 0)
    for bench in (used, fresh):
        run_trial(bench, 1)
    assert same(weights_of(used), weights_of(fresh))


def graphs():
    """How many torch.compile has made in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def check_compiled_in_the_warm_up(bench):
    """Of a bench that compiles: the trials after the warm-up compile nothing."""
    before = graphs()
    warm_up(bench)
    made = graphs()
    assert made > before
    for seed in (0, 1):
        run_trial(bench, seed)
    assert graphs() == made
