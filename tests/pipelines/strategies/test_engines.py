"""Which engine trains, and what it refuses; tests/pipelines/test_engines_train.py has real processes."""

import sys

import pytest
import torch
from torch import nn

from pipelines import recipe, strategies
from pipelines.distributed.process_group import World
from pipelines.evaluate import batches, evaluate
from pipelines.recipe.training import Evaluation

FSDP2 = "parallel.engine=fsdp2"
DEEPSPEED = "parallel.engine=deepspeed"
FROZEN_BIAS = ["model={name: airnet, whitening: {images: 40, bias: true}}", "techniques.whitening_bias={epochs: 2}"]


def quick(*overrides):
    return recipe.load("digits/quick", list(overrides))


def test_one_process_and_ddp_share_nothing_out():
    assert strategies.make_sharding(quick(FSDP2), World()) is None
    assert strategies.make_sharding(quick(DEEPSPEED), World()) is None
    assert strategies.make_sharding(quick(), World(0, 2)) is None
    assert strategies.make_sharding(quick(FSDP2, "parallel.exchange=false"), World(0, 2)) is None


def test_the_strategy_is_read_off_the_object_that_is_called():
    class Engine(nn.Module):
        def zero_optimization_stage(self):
            return 2

    assert strategies.strategy_of(nn.Linear(1, 1)) == "none"
    assert strategies.strategy_of(Engine()) == "ZeRO-2"


def test_recipes_without_an_engine_keep_their_hash():
    assert quick().hash == quick("parallel.engine=ddp", "parallel.zero_stage=0").hash
    assert len({quick(*knobs).hash for knobs in ([], [FSDP2], [DEEPSPEED], [DEEPSPEED, "parallel.zero_stage=1"])}) == 4


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["parallel.zero_stage=2"], "say parallel.engine=deepspeed"),
        ([FSDP2, "parallel.zero_stage=2"], "say parallel.engine=deepspeed"),
        ([FSDP2, "parallel.bucket_mb=1"], "say parallel.bucket_mb=null"),
        ([DEEPSPEED, "parallel.bucket_mb=1"], "say parallel.bucket_mb=null"),
        ([FSDP2, "techniques.ema={momentum: 0.9, every: 5}"], "say techniques.ema=null or parallel.engine=ddp"),
        ([DEEPSPEED, "parallel.zero_stage=3", "techniques.ema={momentum: 0.9, every: 5}"], "say techniques.ema=null"),
        ([DEEPSPEED, "techniques.swa={start: 0.5}"], "say techniques.swa=null"),
        ([DEEPSPEED, *FROZEN_BIAS], "say techniques.whitening_bias=null"),
        ([FSDP2, "optimizer={name: lamb, lr: 0.01}"], "say another optimizer or parallel.engine=ddp"),
        ([FSDP2, "precision=half"], "say precision=autocast or float32"),
        ([DEEPSPEED, "compile=true"], "say compile=false"),
        ([FSDP2, "accumulation=2", "drop_last=false"], "say drop_last=true"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_with_a_remedy(overrides, remedy):
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
def test_what_an_engine_can_do_is_not_refused(overrides):
    assert quick(*overrides).parallel.engine != "ddp"


def test_a_missing_deepspeed_is_a_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ValueError, match=r"deepspeed is missing: pip install -e '\.\[deepspeed\]'"):
        strategies.make_sharding(quick(DEEPSPEED), World(0, 2))


FSDP_FILE = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
ZERO_2_FILE = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}


@pytest.mark.parametrize(
    ("variables", "overrides", "complaint"),
    [
        (FSDP_FILE, [], "add parallel.engine=fsdp2 to the command"),
        (FSDP_FILE, [DEEPSPEED], "asks for parallel.engine=fsdp2, and the recipe says parallel.engine=deepspeed"),
        (ZERO_2_FILE, [], "add parallel.engine=deepspeed parallel.zero_stage=2 to the command"),
        (ZERO_2_FILE, [FSDP2], "and the recipe says parallel.engine=fsdp2"),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=1"], "says parallel.engine=deepspeed parallel.zero_stage=1"),
        (FSDP_FILE | {"FSDP_VERSION": "1"}, [FSDP2], "say fsdp_version: 2"),
    ],
)
def test_a_launch_file_that_asks_for_another_engine_is_refused(variables, overrides, complaint):
    with pytest.raises(ValueError, match=complaint):
        strategies.check_launch(quick(*overrides), variables)


@pytest.mark.parametrize(
    ("variables", "overrides"),
    [
        ({}, []),
        ({}, [FSDP2]),
        ({"ACCELERATE_USE_FSDP": "false"}, []),
        (FSDP_FILE, [FSDP2]),
        (ZERO_2_FILE, [DEEPSPEED, "parallel.zero_stage=2"]),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, [DEEPSPEED, "parallel.zero_stage=3"]),
    ],
)
def test_a_launch_file_that_fits_or_asks_for_nothing_is_not(variables, overrides):
    strategies.check_launch(quick(*overrides), variables)


class One(World):
    """One of many processes, which adds nothing up."""

    def sum(self, values):
        return values


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 25])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_all_processes_call_the_network_equally_often_in_an_evaluation(count, size, share):
    calls = [0] * size
    images, labels = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1), torch.zeros(count, dtype=torch.long)
    for rank in range(size):

        def forward(batch, rank=rank):
            calls[rank] += 1
            return torch.cat([batch.flatten(1), -batch.flatten(1)], 1)

        evaluate(forward, images, labels, Evaluation(tta="flip", tta_share=share, batch_size=4), One(rank, size))
    assert len(set(calls)) == 1


def test_one_process_has_the_batches_that_it_would_have_alone():
    images = torch.arange(10)
    assert [len(batch) for batch in batches(images, 4, 10)] == [4, 4, 2]
    assert [len(batch) for batch in batches(images[:8], 4, 9)] == [4, 4, 0]
