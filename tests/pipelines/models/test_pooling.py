import pytest
import torch
import torch.nn.functional as F

from pipelines.models.layers import FractionalMaxPool, GlobalMaxPool, make_pool, pooled
from pipelines.recipe import RecipeError, load, networks
from tests.pipelines.models.small import build, images

FRACTIONAL = networks.Pool(name="fractional", ratio=0.7)


def test_max_and_average_are_torch_s():
    assert torch.equal(make_pool(networks.Pool())(images()), F.max_pool2d(images(), 2))
    assert torch.equal(make_pool(networks.Pool(name="average"))(images()), F.avg_pool2d(images(), 2))


@pytest.mark.parametrize("config", [networks.Pool(), networks.Pool(name="average"), FRACTIONAL])
@pytest.mark.parametrize("side", [2, 3, 4, 5, 7, 31, 32])
def test_the_side_that_is_left(config, side):
    assert make_pool(config)(torch.randn(1, 1, side, side)).shape[-1] == pooled(side, config)


def test_fractional_pooling_takes_maxima_of_neighbouring_2x2_pixels():
    """On an image that grows to the right and downwards, each maximum tells its place: the lower right of four."""
    rows = torch.arange(20.0)
    image = (rows[:, None] * 100 + rows)[None, None]
    output = FractionalMaxPool(0.7)(image)[0, 0]
    places = output[:, 0].div(100).floor(), output[0].remainder(100)
    torch.testing.assert_close(output, places[0][:, None] * 100 + places[1])
    for place in places:
        steps = place.diff()
        assert ((steps == 1) | (steps == 2)).all()
        assert place[-1] == 19


def test_places_are_drawn_for_each_image_in_training_and_even_in_evaluation():
    pool, same = FractionalMaxPool(0.7), images(count=1).expand(3, -1, -1, -1)
    first, second = pool(same), pool(same)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    pool.eval()
    assert torch.equal(pool(same), pool(same))
    assert torch.equal(pool(same)[0], pool(same)[1])


def test_places_are_not_rounded_in_half_precision():
    pool, half = FractionalMaxPool(0.7), torch.randn(2, 3, 63, 63).bfloat16()
    pooled_images = []
    for seen in (half, half.float()):
        torch.manual_seed(0)
        pooled_images.append(pool(seen))
    assert pooled_images[0].dtype == torch.bfloat16
    assert torch.equal(pooled_images[0].float(), pooled_images[1])


@pytest.mark.parametrize("name", ["convnet", "davidnet", "airnet"])
@pytest.mark.parametrize(
    "pool", [networks.Pool(name="average"), FRACTIONAL, networks.Pool(name="fractional", ratio=0.9)]
)
def test_networks_take_every_pooling(name, pool):
    network, plain = build(name, pool=pool), build(name)
    assert network(images()).shape == (4, 10)
    shapes = [tensor.shape for key, tensor in plain.state_dict().items() if not key.startswith("head")]
    assert [tensor.shape for key, tensor in network.state_dict().items() if not key.startswith("head")] == shapes
    assert not torch.allclose(network.eval()(images()), plain.eval()(images()))
    expected = {"convnet": 2, "davidnet": 3, "airnet": 3}[name]
    kind = type(make_pool(pool))
    seen = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda *_: seen.append(1))
    network(images())
    assert len(seen) == expected


def test_a_ratio_without_fractions_is_refused():
    with pytest.raises(RecipeError, match="ratio=0.6 does nothing for max: it is for fractional"):
        load("digits/quick", ["model.pool.ratio=0.6"])


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_global_maximum_is_torch_s_and_equal_pixels_share_no_gradient(memory_format, dtype):
    values = torch.randint(3, (5, 4, 3, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    seen = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    outcomes = []
    for pool in (GlobalMaxPool(), torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten())):
        leaf = values.to(memory_format=memory_format).requires_grad_()
        maxima = pool(leaf)
        (gradient,) = torch.autograd.grad(maxima, leaf, seen)
        outcomes.append((maxima, gradient))
    (maxima, gradient), (expected, expected_gradient) = outcomes
    assert torch.equal(maxima, expected)
    assert torch.equal(gradient, expected_gradient)
    assert gradient.is_contiguous(memory_format=memory_format)
