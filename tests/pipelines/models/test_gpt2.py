"""GPT-2: size, initial weights, causality, and floating-point operations by the formula of PaLM's appendix B."""

import math

import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.data import sources
from pipelines.estimate import estimate, flops
from pipelines.models.gpt2 import GPT2
from pipelines.optim.parameter_groups import HEAD, role_of
from pipelines.recipe import networks
from pipelines.recipe.training import Initialization
from results.literature import rates

SMALL = {"layers": 2, "width": 32, "heads": 4, "vocabulary": 50, "context": 16}


def build(length=16, classes=50, **options):
    return GPT2(networks.GPT2(name="gpt2", **(SMALL | options)), (length,), classes)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_has_the_parameters_of_gpt2():
    with torch.device("meta"):
        network = GPT2(networks.GPT2(name="gpt2"), (1024,), 50257)
    assert count(network) == 124_439_808  # of openai-community/gpt2, whose last layer shares the embedding's weights


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"layers": 24, "width": 1024, "heads": 16}, 354_823_168),
        ({"vocabulary": 50304, "bias": False}, 124_373_760),
    ],
)
def test_options_change_its_size(options, parameters):
    with torch.device("meta"):
        assert count(GPT2(networks.GPT2(name="gpt2", **options), (1024,), 50257)) == parameters


def test_a_position_sees_those_before_it_alone():
    network = build().eval()
    tokens = torch.randint(50, (1, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 9:] = (other[0, 9:] + 1) % 50
    first, second = network(tokens), network(other)
    torch.testing.assert_close(first[:, :9], second[:, :9])
    assert not torch.allclose(first[:, 9:], second[:, 9:])


def test_a_block_is_torchs_layer():
    block = build(length=16).layers[0]
    layer = nn.TransformerEncoderLayer(
        32, 4, dim_feedforward=128, dropout=0.0, activation=nn.GELU("tanh"), batch_first=True, norm_first=True
    )
    attention, (first, _, second) = block.attention, block.mlp
    for ours, theirs in (
        (block.attention_norm, layer.norm1),
        (attention.output, layer.self_attn.out_proj),
        (block.mlp_norm, layer.norm2),
        (first, layer.linear1),
        (second, layer.linear2),
    ):
        theirs.load_state_dict(ours.state_dict())
    layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = attention.qkv.weight, attention.qkv.bias
    values = torch.randn(3, 16, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(16)
    torch.testing.assert_close(block(values), layer(values, mask, is_causal=True))


def test_compiles_to_one_graph():
    network, tokens = build(), torch.randint(50, (2, 16))
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(tokens), network(tokens))


def test_weights_are_drawn_as_in_gpt2():
    network = build(width=256, vocabulary=500)
    models.initialize(network, 3, Initialization())
    block = network.layers[1]
    for weight, std in (
        (network.tokens.weight, 0.02),
        (network.positions.weight, 0.02),
        (block.attention.qkv.weight, 0.02),
        (block.mlp[0].weight, 0.02),
        (block.attention.output.weight, 0.02 / math.sqrt(2 * 2)),
        (block.mlp[2].weight, 0.02 / math.sqrt(2 * 2)),
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.05)
    assert not block.mlp[0].bias.any()
    assert torch.equal(block.mlp_norm.weight, torch.ones(256))


def test_the_embedding_is_the_last_layer():
    network = build()
    assert role_of(network, "tokens.weight") == HEAD
    network(torch.zeros(1, 4, dtype=torch.int64)).sum().backward()
    assert network.tokens.weight.grad[1:].any(), "gradients of tokens that the batch does not have"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 51}, "model.vocabulary=50 is less than data.tokens.vocabulary=51"),
        ({"length": 17}, "model.context=16 is less than data.tokens.length=17"),
    ],
)
def test_data_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_operations_are_those_of_the_formula():
    """6 N + 12 layers x width x length for a token (Chowdhery et al. 2022, "PaLM", appendix B), N without positions."""
    chosen = recipe.load("throughput/gpt2-124m")
    costs = estimate(chosen, sources.blank_of(chosen.data), torch.device("cuda"))
    tokens = 200 * 12 * 1024
    n = costs.parameters - 1024 * 768
    assert costs.train_flops == pytest.approx(tokens * (6 * n + 12 * 12 * 768 * 1024), rel=0.001)


def test_operations_give_the_published_utilization():
    """Of nanoGPT: 100 sequences in 755 ms on a GPU that does 312 TFLOP/s."""
    (source,) = [one for one in rates() if one.recipe == "throughput/gpt2-124m"]
    chosen = recipe.load(source.recipe)
    per_sequence = 3 * estimate(chosen, sources.blank_of(chosen.data), torch.device("cuda")).flops_per_image
    found = source.batch * per_sequence / (source.step_ms / 1000) / 312e12
    assert found == pytest.approx(source.mfu, abs=0.0005)


def test_attention_counts():
    with torch.device("meta"):
        network, tokens = build(), torch.empty(1, 16, dtype=torch.int64)
    matrices = sum(p.numel() for p in network.parameters() if p.ndim > 1) - 16 * 32
    assert flops(network, tokens) == 2 * 16 * matrices + 2 * (2 * 2 * 16 * 16 * 32)
