import pytest
import torch
from torch import nn

from pipelines import models
from pipelines.models.dropout import DropConnect, Dropout, in_a_row, make_dropout, stochastic_depth
from pipelines.recipe import RecipeError, load, networks
from pipelines.recipe.training import Initialization
from tests.pipelines.models.small import DROPOUT, SMALL, build, everything, images

every_network = pytest.mark.parametrize("name", SMALL)
residual_networks = pytest.mark.parametrize("name", ["davidnet", "resnet18", "wide_resnet", "airnet"])


def dropouts(network, place):
    return [module for module in network.modules() if isinstance(module, Dropout) and module.place == place]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_scales_the_rest_up(rate, dtype):
    torch.manual_seed(0)
    dropped = Dropout(rate, "head")(torch.full((100_000,), 3.0, dtype=dtype))
    zeros = (dropped == 0).double().mean().item()
    deviation = (rate * (1 - rate) / 100_000) ** 0.5
    assert zeros == pytest.approx(rate, abs=5 * deviation)
    assert dropped.dtype == dtype
    torch.testing.assert_close(
        dropped[dropped != 0].unique().float(), torch.tensor([3 / (1 - rate)]), rtol=0.01, atol=0
    )


def test_parts_of_the_values_are_dropped_as_the_whole_is():
    def dropped(features, part):
        dropout = Dropout(0.5, "head")
        dropout.part = part
        torch.manual_seed(0)
        return dropout(torch.ones(6, features))

    assert torch.equal(torch.cat([dropped(5, (0, 2)), dropped(5, (1, 2))], dim=1), dropped(10, (0, 1)))


def test_the_gradient_passes_where_the_value_did():
    values = torch.randn(50, requires_grad=True)
    dropped = Dropout(0.5, "head")(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, torch.where(dropped == 0, 0.0, 2.0))


def test_the_rate_can_be_set_and_comes_back():
    dropout, ones = Dropout(0.25, "head"), torch.ones(1000)
    dropout.set_rate(0.0)
    assert torch.equal(dropout(ones), ones)
    dropout.set_rate(0.999)
    assert (dropout(ones) == 0).sum() > 950
    dropout.reset_parameters()
    assert dropout.keep == 0.75


def test_no_rate_no_dropout():
    assert make_dropout(networks.Dropout(head=0.5), "blocks") is None
    assert make_dropout(networks.Dropout(head=0.5), "head").rate == 0.5


@every_network
def test_by_default_nothing_is_added_and_nothing_drawn(name):
    network = build(name)
    assert not [module for module in network.modules() if isinstance(module, Dropout | DropConnect | nn.Identity)]
    state = torch.get_rng_state()
    network(images())
    assert torch.equal(torch.get_rng_state(), state)


@every_network
def test_dropout_stands_where_the_recipe_says(name):
    shapes = []
    network = build(name, dropout=DROPOUT)
    for place, rate in DROPOUT:
        for dropout in dropouts(network, place):
            assert dropout.rate == rate
            dropout.register_forward_hook(lambda module, inputs, output: shapes.append((module.place, inputs[0].shape)))
    network(images())
    places = [place for place, _ in shapes]
    blocks = {"convnet": 2, "davidnet": 6, "resnet18": 8, "wide_resnet": 3, "airnet": 3, "alexnet": 3}[name]
    heads = 2 if name == "alexnet" else 1  # after each of its hidden linear layers
    assert places == ["input", *["blocks"] * blocks, *["head"] * heads]
    assert shapes[0][1] == (4, 3, 32, 32)
    assert shapes[-1][1] == (4, network.head.in_features)


@every_network
@pytest.mark.parametrize("place", ["input", "blocks", "head"])
def test_each_place_has_a_option_of_its_own(name, place):
    network = build(name, dropout=networks.Dropout(**{place: 0.5}))
    found = [module.place for module in network.modules() if isinstance(module, Dropout)]
    assert set(found) == {place}


@every_network
def test_in_evaluation_the_network_is_the_one_without(name):
    config = {key: value for key, value in everything(name).items() if key != "pool"}
    plain, dropping = build(name), build(name, **config)
    assert list(dropping.state_dict()) == list(plain.state_dict())
    assert not torch.equal(dropping(images()), plain(images()))
    for network in (plain, dropping):
        models.initialize(network, 3, Initialization())
    assert all(map(torch.equal, dropping.state_dict().values(), plain.state_dict().values()))
    assert torch.equal(dropping.eval()(images()), plain.eval()(images()))


@every_network
def test_an_evaluation_draws_nothing(name):
    network = build(name, **everything(name)).eval()
    state = torch.get_rng_state()
    logits = network(images())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network(images()), logits)


@every_network
def test_a_network_made_anew_from_the_same_seed_is_the_same(name):
    network = build(name, **everything(name))
    seen = []
    for _ in range(2):
        models.initialize(network, 3, Initialization())
        weights = [tensor.clone() for tensor in network.state_dict().values()]
        seen.append([*weights, *(module.keep.clone() for module in network.modules() if isinstance(module, Dropout))])
        seen[-1].append(network(images()).detach())
        for module in network.modules():
            if isinstance(module, Dropout):
                module.set_rate(0.9)
    assert all(map(torch.equal, *seen))


@every_network
@pytest.mark.parametrize("channels_last", [False, True])
def test_half_precision(name, channels_last):
    network = models.to_precision(build(name, **everything(name)), torch.bfloat16, channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    logits = network(images().bfloat16().contiguous(memory_format=layout))
    logits.sum().backward()
    assert logits.dtype == torch.bfloat16
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.requires_grad)
    for dropout in (module for module in network.modules() if isinstance(module, Dropout)):
        assert dropout.keep.item() == pytest.approx(1 - dropout.rate)


@every_network
def test_shapes_can_be_computed_without_data(name):
    with torch.device("meta"):
        assert build(name, **everything(name))(torch.empty(4, 3, 32, 32)).shape == (4, 10)


def test_drop_connect_has_one_mask_for_the_batch():
    torch.manual_seed(0)
    head = DropConnect(500, 10, bias=True, rate=0.4)
    batch = torch.eye(500)
    used = (head(batch) - head.bias).T
    dropped = used == 0
    assert dropped.double().mean().item() == pytest.approx(0.4, abs=0.03)
    torch.testing.assert_close(used, torch.where(dropped, 0.0, head.weight / 0.6))
    assert not torch.equal((head(batch) - head.bias).T == 0, dropped), "the next batch has another mask"
    torch.testing.assert_close(head.eval()(batch), nn.functional.linear(batch, head.weight, head.bias))


@every_network
def test_drop_connect_is_in_the_head_alone(name):
    network = build(name, drop_connect=0.3)
    assert [module.rate for module in network.modules() if isinstance(module, DropConnect)] == [0.3]
    assert isinstance(network.head, DropConnect)
    assert (network.head.bias is None) == (build(name).head.bias is None)


def test_the_rate_of_stochastic_depth_grows_linearly():
    assert [layer.p for layer in stochastic_depth(0.6, 3)] == pytest.approx([0.2, 0.4, 0.6])
    assert stochastic_depth(0.0, 3) == [None] * 3


@residual_networks
def test_stochastic_depth_takes_the_branches_of_some_images(name):
    from torchvision.ops import StochasticDepth

    network = build(name, stochastic_depth=0.8)
    layers = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    count = {"davidnet": 2, "resnet18": 8, "wide_resnet": 3, "airnet": 3}[name]
    assert [layer.p for layer in layers] == pytest.approx([0.8 * number / count for number in range(1, count + 1)])
    taken = []
    layers[-1].register_forward_hook(lambda module, inputs, output: taken.append((inputs[0], output)))
    network(images(count=60))
    [(branch, output)] = taken
    left_out = output.flatten(1).eq(0).all(1)
    assert 36 < left_out.sum() < 58
    torch.testing.assert_close(output[~left_out], branch[~left_out] / 0.2)


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("digits/quick", ["model.stochastic_depth=0.5"], "model.stochastic_depth: there is no such option"),
        ("cifar10/airbench94", ["model.stochastic_depth=0.5"], "stochastic_depth needs residual branches in every"),
        ("cifar10/ladder/00-resnet18", ["model.pool={}"], "model.pool: there is no such option"),
        ("digits/quick", ["model.dropout.head=1"], "model.dropout.head=1: .*less than 1"),
        ("digits/quick", ["model.drop_connect=-0.1"], "model.drop_connect=-0.1: .*greater than or equal to 0"),
    ],
)
def test_what_a_network_cannot_drop_is_refused(recipe, overrides, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe, overrides)


def test_dropouts_take_no_number():
    first, second = nn.Flatten(), nn.Linear(4, 4)
    row = in_a_row(Dropout(0.1, "input"), first, None, second, Dropout(0.5, "head"))
    assert list(row._modules) == ["dropout0", "0", "1", "dropout1"]
    assert [row._modules["0"], row._modules["1"]] == [first, second]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnet", "airnet"])
def test_a_compiled_network_goes_on_at_another_rate(name):
    network = build(name, **everything(name))
    compiled = torch.compile(network, backend="aot_eager")  # inductor would take minutes
    compiled(images()).sum().backward()
    rates = torch.linspace(0, 0.99, 12).tolist()
    with torch.compiler.set_stance("fail_on_recompile"):
        for rate in rates:
            for dropout in dropouts(network, "head"):
                dropout.set_rate(rate)
            compiled(images()).sum().backward()
    network.eval()
    torch.testing.assert_close(compiled(images()), network(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_dropout_drops_at_the_rate_of_the_moment():
    dropout, ones = Dropout(0.5, "head"), torch.ones(100_000)
    compiled = torch.compile(dropout)
    for rate in (0.5, 0.0, 0.9):
        dropout.set_rate(rate)
        assert (compiled(ones) == 0).double().mean().item() == pytest.approx(rate, abs=0.01)
