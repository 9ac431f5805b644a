import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode

from kernels import choice
from kernels.cpu import build, chain, fused
from pipelines import models
from pipelines.recipe import load
from tests.kernels.cpu.chains import distance, needs_kernels

pytestmark = needs_kernels

RECIPES = {
    "cifar10/airbench94-muon": 6,
    "cifar10/airbench96": 9,
    "cifar10/e1": 6,
    "cifar10/davidnet-10": 8,
    "cifar10/ladder/24-ghost-batch-norm": 8,
    "cifar10/ladder/40-airnet": 6,  # behind a convolution that is trained
}
"""and how many blocks their networks have"""
NARROW = {"airnet": "model.widths=[32,64,96]", "davidnet": "model.widths=[32,64,64,96]"}
"""channels of the networks here: a CPU that emulates bfloat16 takes a minute for one step of the recipe's own"""


@pytest.fixture
def runs_of_chain(monkeypatch):
    """How many blocks each call of the fast version had."""
    runs, fused = [], chain.fused
    monkeypatch.setattr(
        chain, "fused", lambda images, blocks, *a, **k: runs.append(len(blocks)) or fused(images, blocks, *a, **k)
    )
    monkeypatch.setattr(choice, "_version", "reference")
    return runs


def network_of(name, dtype, *options):
    narrow = NARROW[load(name).model.name]
    recipe = load(name, [narrow, *options])
    network = models.build_network(recipe.model, (3, 32, 32), 10)
    models.initialize(network, 3, recipe.initialization)
    network = models.to_precision(network, torch.bfloat16, channels_last=True)
    if dtype == torch.float32:
        network.float()  # the same weights, rounded to bfloat16
    return network


def train_step(name, dtype, *options):
    """Logits, all gradients and the logits in evaluation of one batch."""
    network = network_of(name, dtype, *options)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.bfloat16().to(dtype).contiguous(memory_format=torch.channels_last)
    logits = network(images)
    F.cross_entropy(logits.float(), torch.arange(64) % 10).backward()
    gradients = torch.cat([each.grad.flatten().double() for each in network.parameters() if each.grad is not None])
    with torch.no_grad():
        return logits.detach(), gradients, network.eval()(images)


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_is_as_near_to_float32_by_blocks_as_by_layers(name, runs_of_chain):
    expected, plain = train_step(name, torch.float32), train_step(name, torch.bfloat16)
    assert runs_of_chain == []
    choice.use("fast")
    result = train_step(name, torch.bfloat16)
    assert runs_of_chain == [RECIPES[name]] * 2
    for value, by_layers, right in zip(result, plain, expected, strict=True):
        assert value.shape == right.shape
        # Winograd's products round more, see kernels/cpu/csrc/winograd.h
        assert distance(value, right) < 4 * distance(by_layers, right) + 0.02


@pytest.mark.parametrize(
    ("option", "blocks"), [("depth=[2,3,3]", 8), ("residual_depth=2", 6), ("mean_features=true", 6)]
)
def test_an_airnet_with_this_option_is_as_near_to_float32(option, blocks, runs_of_chain):
    name, option = "cifar10/e1", f"model.{option}"
    expected, plain = (train_step(name, dtype, option) for dtype in (torch.float32, torch.bfloat16))
    choice.use("fast")
    result = train_step(name, torch.bfloat16, option)
    assert runs_of_chain == [blocks] * 2
    for value, by_layers, right in zip(result, plain, expected, strict=True):
        assert distance(value, right) < 4 * distance(by_layers, right) + 0.02


@pytest.mark.parametrize("frozen", [1, 2])
def test_frozen_stages_are_frozen_by_blocks_as_by_layers(frozen, runs_of_chain):
    found = []
    for version in ("reference", "fast"):
        choice.use(version)
        network = network_of("cifar10/e1", torch.bfloat16)
        network.whiten.weight.data.normal_()
        network(torch.randn(64, 3, 32, 32).bfloat16(), frozen_stages=frozen).float().square().sum().backward()
        found.append({name for name, one in network.named_parameters() if one.requires_grad and one.grad is None})
    by_layers, by_blocks = found
    assert runs_of_chain == [6]
    assert by_layers == by_blocks
    assert {".".join(name.split(".")[:2]) for name in by_layers} == {"whiten.bias", *["layers.1", "layers.2"][:frozen]}


def test_what_is_before_frozen_stages_is_frozen_too(runs_of_chain):
    choice.use("fast")
    network = network_of("cifar10/ladder/40-airnet", torch.bfloat16)
    network(torch.randn(64, 3, 32, 32).bfloat16(), frozen_stages=1).float().square().sum().backward()
    assert runs_of_chain == [6]
    untrained = {
        name.split(".")[1] for name, one in network.named_parameters() if one.requires_grad and one.grad is None
    }
    assert untrained == {"0", "2"}  # the convolution before the first stage, and that


def test_layers_before_the_first_stage_run_once_where_the_others_are_no_blocks(runs_of_chain):
    """In float32, which the blocks do not take."""
    network, calls = network_of("cifar10/ladder/40-airnet", torch.float32), []
    images = torch.randn(64, 3, 32, 32)
    expected = network(images)
    forward = network.layers[0].forward
    network.layers[0].forward = lambda images: calls.append(1) or forward(images)
    choice.use("fast")
    assert torch.allclose(network(images), expected, rtol=1e-5, atol=1e-5)
    assert (calls, runs_of_chain) == ([1], [])


def test_auto_runs_blocks_where_they_are_compiled(runs_of_chain, monkeypatch):
    choice.use("fast")
    train_step("cifar10/airbench94-muon", torch.bfloat16)  # compiles
    fused._ready.cache_clear()  # an earlier test may have looked before
    choice.use("auto")
    train_step("cifar10/airbench94-muon", torch.bfloat16)
    assert choice.ran() == (fused.fused_version(),)
    runs_of_chain.clear()
    fused._ready.cache_clear()
    monkeypatch.setattr(build, "built", lambda: None)
    choice.use("auto")
    train_step("cifar10/airbench94-muon", torch.bfloat16)
    fused._ready.cache_clear()
    assert (runs_of_chain, choice.ran()) == ([], ())


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("cifar10/airbench96", "model.stochastic_depth=0.2"),
        ("cifar10/airbench94-muon", "model.pool.name=average"),
        ("cifar10/airbench94-muon", "model.activation.name=mish"),
        ("cifar10/airbench94-muon", "model.dropout.blocks=0.1"),
        ("cifar10/davidnet-10", "model.pool_before_norm=false"),
    ],
)
def test_a_network_with_layers_that_are_no_blocks_runs_layer_by_layer(name, option, runs_of_chain):
    choice.use("fast")
    network_of(name, torch.bfloat16, option)(torch.randn(32, 3, 32, 32).bfloat16())
    assert runs_of_chain == []


def test_layers_that_are_watched_run_one_by_one(runs_of_chain):
    choice.use("fast")
    network, images, seen = network_of("cifar10/e1", torch.bfloat16), torch.randn(32, 3, 32, 32).bfloat16(), []
    with FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() > 1e8
    assert runs_of_chain == []
    for watch in (
        network.whiten.register_forward_hook,
        network.layers[1].convolutions[0].register_forward_hook,
        network.layers[1].convolutions[0].register_full_backward_hook,
        register_module_forward_hook,
    ):
        hook = watch(lambda *_: seen.append(1))
        network(images).float().sum().backward()
        hook.remove()
        assert seen
        seen.clear()
    assert runs_of_chain == []
    network(images)
    assert (seen, runs_of_chain) == ([], [6])
