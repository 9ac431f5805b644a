import math

import pytest
import torch
from torch import nn

from pipelines import models
from pipelines.models.initialization import METHODS, dirac, initialize_convolution, initialize_head
from pipelines.models.layers import PatchWhitening
from pipelines.recipe import RecipeError, load
from pipelines.recipe.training import Initialization
from tests.pipelines.models.small import SMALL, build

FAN_OUT, FAN_IN, SIDE = 96, 64, 3
CLOSED_FORMS = {
    "default": lambda fan_in, fan_out: 1 / math.sqrt(3 * fan_in),
    "xavier_uniform": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    "xavier_normal": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    "kaiming_uniform": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "kaiming_normal": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "orthogonal": lambda fan_in, fan_out: 1 / math.sqrt(fan_in),  # rows of length 1, fewer than columns
    "normal": lambda fan_in, fan_out: 0.07,
}
methods = pytest.mark.parametrize("method", CLOSED_FORMS)
gains = pytest.mark.parametrize("gain", [1.0, 0.01, 10.0])


def config(**settings):
    if "normal" in settings.values():
        settings["std"] = 0.07
    return Initialization(**settings)


def draw(layer, initialize, chosen):
    torch.manual_seed(0)
    layer.reset_parameters()
    initialize(layer.weight, chosen)
    return layer.weight.detach()


@methods
@gains
def test_standard_deviation_of_the_filters(method, gain):
    layer = nn.Conv2d(FAN_IN, FAN_OUT, SIDE)
    weight = draw(layer, initialize_convolution, config(convolutions=method, gain=gain))
    expected = gain * CLOSED_FORMS[method](FAN_IN * SIDE**2, FAN_OUT * SIDE**2)
    assert weight.std().item() == pytest.approx(expected, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=0.02 * expected)


@methods
@gains
def test_standard_deviation_of_the_head(method, gain):
    layer = nn.Linear(1000, 50)
    weight = draw(layer, initialize_head, config(head=method, head_gain=gain))
    assert weight.std().item() == pytest.approx(gain * CLOSED_FORMS[method](1000, 50), rel=0.02)


@pytest.mark.parametrize("method", ["xavier", "kaiming"])
def test_uniform_filters_reach_no_further_than_their_bound(method):
    layer = nn.Conv2d(FAN_IN, FAN_OUT, SIDE)
    weight = draw(layer, initialize_convolution, Initialization(convolutions=f"{method}_uniform"))
    bound = math.sqrt(3) * CLOSED_FORMS[f"{method}_uniform"](FAN_IN * SIDE**2, FAN_OUT * SIDE**2)
    assert 0.99 * bound < weight.abs().max() <= bound
    normal = draw(layer, initialize_convolution, Initialization(convolutions=f"{method}_normal"))
    assert normal.abs().max() > 2 * bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_weights(dtype):
    chosen = Initialization(convolutions="constant", head="constant", value=0.25, gain=2, head_gain=4)
    assert (draw(nn.Conv2d(2, 3, 3, dtype=dtype), initialize_convolution, chosen) == 0.5).all()
    assert (draw(nn.Linear(2, 3, dtype=dtype), initialize_head, chosen) == 1).all()


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (4, 8), (8, 4)])
def test_dirac_convolutions_pass_their_inputs_through(inputs, outputs):
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    drawn = convolution.weight.detach().clone()
    initialize_convolution(convolution.weight, Initialization(convolutions="dirac"))
    images, passed = torch.randn(2, inputs, 6, 6), min(inputs, outputs)
    assert torch.allclose(convolution(images)[:, :passed], images[:, :passed])
    assert torch.equal(convolution.weight[passed:], drawn[passed:])


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_unit_std_head(gain):
    head = nn.Linear(64, 10, bias=False)
    initialize_head(head.weight, Initialization(head="unit_std", head_gain=gain))
    assert head.weight.std().item() == pytest.approx(gain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonal_filters(dtype):
    weight = nn.Parameter(torch.empty(6, 3, 3, 3, dtype=dtype))
    initialize_convolution(weight, Initialization(convolutions="orthogonal"))
    gram = weight.float().flatten(1) @ weight.float().flatten(1).T
    assert torch.allclose(gram, torch.eye(6), atol=0.02)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_seed_draws_the_same_in_every_layout(method):
    start = torch.linspace(-1, 1, 8 * 4 * 3 * 3).view(8, 4, 3, 3)
    drawn = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(start.to(memory_format=layout, copy=True))
        torch.manual_seed(3)
        initialize_convolution(weight, Initialization(convolutions=method))
        assert weight.is_contiguous(memory_format=layout)
        drawn.append(weight.detach())
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("settings", "is_changed"),
    [
        ({"gain": 2.0}, lambda path, module: isinstance(module, nn.Conv2d)),
        ({"convolutions": "constant"}, lambda path, module: isinstance(module, nn.Conv2d)),
        ({"head_gain": 2.0}, lambda path, module: path.startswith("head")),
        ({"head": "constant"}, lambda path, module: path.startswith("head")),
    ],
)
def test_each_option_changes_its_weights_and_nothing_else(name, settings, is_changed):
    network, plain = build(name), build(name)
    models.initialize(plain, 1, Initialization())
    models.initialize(network, 1, Initialization(**settings))
    before = plain.state_dict()
    for path, module in network.named_modules():
        for key, values in module.named_parameters(prefix=path, recurse=False):
            changes = key.endswith("weight") and is_changed(path, module) and not isinstance(module, PatchWhitening)
            assert torch.equal(values, before[key]) != changes, key


@pytest.mark.parametrize("option", ["std=0.5", "value=1"])
def test_a_value_for_another_method_is_refused(option):
    method = {"std": "normal", "value": "constant"}[option.partition("=")[0]]
    with pytest.raises(RecipeError, match=f"does nothing: set convolutions={method} or head={method}"):
        load("digits/quick", [f"initialization.{option}"])
    for part in ("convolutions", "head"):
        load("digits/quick", [f"initialization.{option}", f"initialization.{part}={method}"])


RESIDUAL = Initialization(convolutions="implicit_residual")


def test_implicit_residual_is_the_identity_between_as_many_channels():
    convolution, images = nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.randn(2, 8, 6, 6)
    initialize_convolution(convolution.weight, RESIDUAL)
    assert torch.allclose(convolution(images), images)


def test_implicit_residual_adds_the_identity_where_channels_grow():
    """And brings the filters back to the mean and spread that they had, by a factor and a constant for all."""
    weight = nn.Conv2d(8, 32, 3, bias=False).weight
    drawn = weight.detach().clone()
    initialize_convolution(weight, RESIDUAL)
    torch.testing.assert_close(torch.stack([weight.mean(), weight.std()]), torch.stack([drawn.mean(), drawn.std()]))
    wanted = drawn + nn.init.dirac_(torch.empty_like(drawn))
    both = torch.stack([wanted, weight.detach()]).flatten(1).double()
    assert torch.corrcoef(both)[0, 1].item() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(4, 4, 3, 3), (6, 3, 3, 3), (3, 6, 2, 2), (2, 2, 1, 5)])
def test_dirac_is_torch_s(shape):
    assert torch.equal(dirac(torch.randn(shape)), nn.init.dirac_(torch.empty(shape)))
