"""Which strategy trains, and what it refuses; test_strategies_train.py has real processes."""

import importlib
import os
import sys
import typing
from functools import partial

import pytest
import torch
from torch import nn

from pipelines import models, preflight, recipe
from pipelines.distributed.process_group import World
from pipelines.recipe import networks
from pipelines.recipe.parallel import Parallel
from pipelines.strategies import deepspeed, fsdp2, make_strategy
from pipelines.strategies.ddp import EveryParameterUsed
from pipelines.strategies.strategy import compiled

FSDP2 = "parallel.strategy=fsdp2"
DEEPSPEED = "parallel.strategy=deepspeed"
LOCAL_SGD = "parallel.strategy=local_sgd"
FROZEN_BIAS = ["model={name: airnet, whitening: {images: 40, bias: true}}", "techniques.whitening_bias={epochs: 2}"]


def quick(*overrides):
    return recipe.load("digits/quick", list(overrides))


def strategy(world, *overrides):
    return make_strategy(quick(*overrides), nn.Linear(1, 1), world)


def test_one_process_trains_alone_whatever_the_recipe_says():
    alone = [strategy(World(), FSDP2), strategy(World(), DEEPSPEED), strategy(World())]
    alone += [strategy(World(0, 2), name, "parallel.sync_gradients=false") for name in (FSDP2, "parallel.strategy=ddp")]
    assert {made.name for made in alone} == {"none"}


@pytest.mark.parametrize("name", typing.get_args(Parallel.model_fields["strategy"].annotation))
def test_every_strategy_of_the_recipe_has_a_file_that_makes_it(name):
    assert callable(importlib.import_module(f"pipelines.strategies.{name}").make_strategy)


def test_recipes_without_a_strategy_keep_their_hash():
    assert quick().hash == quick("parallel.strategy=ddp", "parallel.zero_stage=0").hash
    assert (
        len({quick(*config).hash for config in ([], [FSDP2], [DEEPSPEED], [DEEPSPEED, "parallel.zero_stage=1"])}) == 4
    )


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["parallel.zero_stage=2"], "set parallel.strategy=deepspeed"),
        ([FSDP2, "parallel.zero_stage=2"], "set parallel.strategy=deepspeed"),
        ([FSDP2, "parallel.compression=fp16"], "set parallel.strategy=ddp"),
        ([LOCAL_SGD, "parallel.compression=power_sgd"], "set parallel.strategy=ddp"),
        (["parallel.local_sgd_period=8"], "set parallel.strategy=local_sgd"),
        ([FSDP2, "parallel.local_sgd_start=8"], "set parallel.strategy=local_sgd"),
        (["parallel.power_sgd_rank=2"], "parallel.compression=power_sgd: use it"),
        (["parallel.compression=bf16", "precision=half"], "set precision=autocast or parallel.compression=none"),
        ([LOCAL_SGD, "techniques.ema={momentum: 0.9, every: 5}"], "set techniques.ema=null or parallel.strategy=ddp"),
        ([LOCAL_SGD, "techniques.gradient_clipping={norm: 1.0}"], "set techniques.gradient_clipping=null"),
        ([LOCAL_SGD, "precision=half"], "set precision=autocast or float32"),
        ([FSDP2, "parallel.bucket_mb=1"], "set parallel.strategy=ddp or parallel.bucket_mb=null"),
        ([DEEPSPEED, "parallel.bucket_mb=1"], "set parallel.strategy=ddp or parallel.bucket_mb=null"),
        ([FSDP2, "techniques.ema={momentum: 0.9, every: 5}"], "set techniques.ema=null or parallel.strategy=ddp"),
        ([DEEPSPEED, "parallel.zero_stage=3", "techniques.ema={momentum: 0.9, every: 5}"], "set techniques.ema=null"),
        ([DEEPSPEED, "techniques.swa={start: 0.5}"], "set techniques.swa=null"),
        ([DEEPSPEED, *FROZEN_BIAS], "set techniques.whitening_bias=null"),
        ([FSDP2, "optimizer={name: lamb, lr: 0.01}"], "use another optimizer or parallel.strategy=ddp"),
        ([FSDP2, "precision=half"], "set precision=autocast or float32"),
        ([DEEPSPEED, "compile=true"], "set compile=false"),
        ([FSDP2, "accumulation=2", "drop_last=false"], "set drop_last=true"),
        (
            ["model.norm={sync: true}", "accumulation=2", "drop_last=false"],
            "model.norm.sync=true.*set drop_last=true",
        ),
    ],
)
def test_what_a_strategy_cannot_do_is_refused_with_a_remedy(overrides, remedy):
    with pytest.raises(ValueError, match=remedy):
        quick(*overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [FSDP2, "accumulation=2", "precision=autocast", "techniques.mixup={alpha: 0.2}"],
        [DEEPSPEED, "accumulation=2", "parallel.zero_stage=2", "techniques.ema={momentum: 0.9, every: 5}"],
        [FSDP2, *FROZEN_BIAS],
        [DEEPSPEED, "parallel.zero_stage=3", "optimizer={name: adamw, lr: 0.01}"],
    ],
)
def test_what_a_strategy_can_do_is_not_refused(overrides):
    assert quick(*overrides).parallel.strategy != "ddp"


@pytest.mark.parametrize("architecture", ["resnet18", "vit_b_32", "maxvit_t", "densenet121", "shufflenet_v2_x0_5"])
def test_fsdp2_shards_the_parts_of_a_network_of_torchvision(architecture):
    config = networks.Torchvision(name="torchvision", architecture=architecture)
    with torch.device("meta"):
        network = models.build_network(config, (3, 224, 224), 10)
    parts = list(fsdp2.blocks(network))
    assert len(parts) > 2
    assert all(type(part).forward is not nn.Module.forward for part in parts), "fully_shard refuses a list of modules"
    sharded = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert sharded > 0.99 * sum(parameter.numel() for parameter in network.parameters())


def test_fsdp2_shards_the_layers_of_a_network_of_ours():
    network = models.build_network(quick().model, (1, 8, 8), 10)
    assert list(fsdp2.blocks(network)) == list(network.layers)


@pytest.mark.parametrize("last", ["drop_last=true", "model.norm.sync=false", "accumulation=1"])
def test_micro_batches_may_be_unequally_many_where_no_process_waits_for_them(last):
    quick("model.norm={sync: true}", "accumulation=2", "drop_last=false", last)


def test_a_missing_deepspeed_is_a_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ValueError, match=r"deepspeed is missing: pip install -e '\.\[deepspeed\]'"):
        preflight.packages(quick(DEEPSPEED), None, World(0, 2))


def test_deepspeed_uses_the_gpu_of_the_process_where_each_process_sees_one_alone(monkeypatch):
    """As srun binds them: the fourth process of a host has cuda:0. DeepSpeed would use cuda:3."""
    monkeypatch.setattr(deepspeed, "require", lambda module, extra: None)
    monkeypatch.setenv("DS_ACCELERATOR", "cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    deepspeed.DeepSpeed(quick(DEEPSPEED), nn.Linear(1, 1), World(3, 4, torch.device("cuda", 0)))
    assert os.environ["LOCAL_RANK"] == "0"


def test_a_parameter_that_a_network_stops_using_keeps_a_gradient_of_zero_under_ddp():
    torch.manual_seed(0)
    network = models.build_network(recipe.load("cifar10/airbench94", ["model.widths=[4,4,4]"]).model, (3, 32, 32), 10)
    linked, images = EveryParameterUsed(network, [network.whiten.bias]), torch.randn(2, 3, 32, 32)
    for is_trained in (True, False):
        network.zero_grad(set_to_none=True)
        logits = linked(images, train_whitening_bias=is_trained)
        assert torch.equal(logits, network(images, train_whitening_bias=is_trained))
        logits.square().sum().backward()
        assert network.whiten.bias.grad.any() == is_trained


@pytest.mark.parametrize(
    ("options", "device", "mode"),
    [
        (["compile=true"], "cpu", None),
        (["compile=auto"], "cuda", None),
        (["compile=auto", "compile_mode=max-autotune"], "cuda", "max-autotune"),
        (["compile=auto"], "cpu", "eager"),
        (["compile=false"], "cuda", "eager"),
    ],
)
def test_a_network_is_compiled_where_the_recipe_says_so(monkeypatch, options, device, mode):
    modes = []
    monkeypatch.setattr(torch, "compile", lambda forward, dynamic, mode: modes.append((dynamic, mode)) or forward)
    compiled(nn.Linear(1, 1), quick(*options), World(device=torch.device(device)))
    assert modes == ([] if mode == "eager" else [(False, mode)])


def test_the_networks_of_a_process_are_compiled_however_many_they_are(fresh_compiler, monkeypatch):
    class Doubled(nn.Module):
        def forward(self, values):
            return 2 * values

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for size in range(2, 72):  # each a shape of its own
        compiled(Doubled(), quick("compile=true"), World())(torch.zeros(size))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 70
