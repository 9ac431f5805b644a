import pytest
import torch

from kernels import choice
from kernels.cpu import build, chain, fused
from tests.kernels.cpu.chains import MICRO_KERNELS, block, distance, micro_kernel, needs_kernels, run, whitening

pytestmark = needs_kernels

__all__ = ["micro_kernel"]

CASES = {
    "one image": lambda: {"images": (1, 32, 8, 8), "blocks": [block(32, 32, activation="silu")]},
    "relu": lambda: {"images": (64, 32, 8, 8), "blocks": [block(32, 32, activation="relu")]},
    "few channels": lambda: {"images": (5, 3, 6, 7), "blocks": [block(3, 5, activation=None)]},
    "odd sizes": lambda: {"images": (37, 17, 9, 7), "blocks": [block(17, 33, activation="celu", alpha=0.3)]},
    "pool leaves a row out": lambda: {"images": (33, 24, 11, 9), "blocks": [block(24, 64, pool=2), block(64, 40)]},
    "larger than the second-level cache": lambda: {
        "images": (3, 40, 33, 33),
        "blocks": [block(40, 32, activation="silu"), block(32, 8, pool=2)],
    },
    "whole image pooled": lambda: {"images": (40, 32, 6, 5), "blocks": [block(32, 48, pool=None, activation="silu")]},
    "large kernel": lambda: {"images": (20, 32, 9, 9), "blocks": [block(32, 32, 5, pool=2), block(32, 64, 1)]},
    "whitening": lambda: {
        "images": (70, 3, 13, 13),
        "blocks": [block(24, 64, pool=2), block(64, 64)],
        "white": whitening(),
    },
    "residual before activation": lambda: {
        "images": (35, 3, 12, 12),
        "blocks": [block(27, 64, pool=2), block(64, 64), block(64, 64, shortcut=0), block(64, 32, pool=2)],
        "white": whitening(27, 3, 1, bias=False, activation=None),
    },
    "residual after activation": lambda: {
        "images": (35, 16, 6, 6),
        "blocks": [
            block(16, 32, activation="celu"),
            block(32, 32),
            block(32, 32, shortcut=0, adds_before_activation=False, activation="silu"),
        ],
    },
    "one block in two residuals": lambda: {
        "images": (35, 16, 6, 6),
        "blocks": [block(16, 32), block(32, 32, shortcut=0), block(32, 32, shortcut=0)],
    },
    "groups": lambda: {
        "images": (70, 16, 6, 6),
        "blocks": [block(16, 32, pool=2), block(32, 32)],
        "options": {"group_size": 20},
    },
    "groups of chunks": lambda: {
        "images": (130, 16, 6, 6),
        "blocks": [block(16, 32), block(32, 32)],
        "options": {"group_size": 64},
    },
    "evaluation": lambda: {
        "images": (35, 16, 8, 8),
        "blocks": [block(16, 32, pool=2), block(32, 32)],
        "options": {"training": False},
    },
}


@pytest.mark.parametrize("micro_kernel", MICRO_KERNELS, indirect=True)
@pytest.mark.parametrize("name", CASES)
def test_is_as_near_to_float32_as_pytorch_in_bfloat16(name, micro_kernel):
    torch.manual_seed(3)
    case = CASES[name]()
    images, options = torch.randn(case["images"]).bfloat16(), case.get("options", {})
    arguments = (images, case["blocks"], case.get("white"), case.get("white") is None)
    assert chain.is_supported(images, case["blocks"], case.get("white"))
    expected = run(chain.reference, torch.float32, *arguments, **options)
    plain = run(chain.reference, torch.bfloat16, *arguments, **options)
    result = run(chain.fused, torch.bfloat16, *arguments, **options)
    assert result.keys() == expected.keys()
    # Winograd's products are of rounded sums; ReLU and max-pool choose by small differences, which amplifies errors
    factor = 6 if "winograd" in micro_kernel else 3
    for key, value in result.items():
        assert value.shape == expected[key].shape, key
        assert distance(value, expected[key]) < factor * distance(plain[key], expected[key]) + 0.02, key


def errors(images, one):
    """Of the output and both gradients of a block, without anything that chooses by small differences."""
    options = {"images_gradient": True, "training": False}
    expected = run(chain.reference, torch.float32, images, [one], **options)
    result = run(chain.fused, torch.bfloat16, images, [one], **options)
    return {key: distance(result[key], expected[key]) for key in ("output", "weight 0", "images")}


@pytest.mark.parametrize("micro_kernel", ["avx512_bf16_winograd_4x4", "avx2_winograd_4x4"], indirect=True)
@pytest.mark.parametrize("height", range(3, 18))
def test_winograds_error_is_below_two_percent_on_any_size(height, micro_kernel):
    torch.manual_seed(3)
    found = errors(torch.randn(33, 40, height, 9).bfloat16(), block(40, 33, activation=None))
    assert max(found.values()) < 0.02, found


@pytest.mark.parametrize(
    ("micro_kernel", "least", "most"),
    [
        ("avx512_bf16_winograd_4x4", 0.009, 0.013),
        ("avx512_bf16_direct", 0.0015, 0.0035),
        ("avx2_winograd_4x4", 0.009, 0.013),
        ("avx2_direct", 0.0015, 0.0035),
    ],
    indirect=["micro_kernel"],
)
def test_the_errors_that_the_documentation_states(micro_kernel, least, most):
    torch.manual_seed(3)
    found = errors(torch.randn(64, 256, 8, 8).bfloat16(), block(256, 64, activation=None))
    assert least < min(found.values()) <= max(found.values()) < most, found


def test_winograds_products_run_where_there_is_no_amx():
    extension = fused.extension()
    assert extension
    if "amx" in extension.supported():
        pytest.skip("this CPU has AMX")
    chosen = build.instructions()
    assert chosen
    assert fused.fused_version() == f"convolution_chain: {chosen.name}_winograd_4x4"


@pytest.fixture
def of_slices(monkeypatch):
    """Has the weights' gradient summed in so many slices."""

    def cut(slices):
        monkeypatch.setattr(fused, "LEAST_SLICES", slices)
        monkeypatch.setattr(fused, "MOST_SLICES", slices)

    return cut


@pytest.fixture
def threads():
    """Sets the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("micro_kernel", MICRO_KERNELS, indirect=True)
def test_any_number_of_threads_gives_the_same_bits(micro_kernel, threads, of_slices):
    torch.manual_seed(3)
    images, white = torch.randn(164, 3, 9, 9).bfloat16(), whitening()
    blocks = [block(24, 64, pool=2), block(64, 64), block(64, 64, shortcut=1)]
    of_slices(3)
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        results.append(run(chain.fused, torch.bfloat16, images, blocks, white))
    for other in results[1:]:
        for key, value in results[0].items():
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("micro_kernel", MICRO_KERNELS, indirect=True)
def test_a_slice_sums_the_gradients_of_its_chunks(micro_kernel, of_slices):
    torch.manual_seed(3)
    images, blocks = torch.randn(145, 40, 9, 7).bfloat16(), [block(40, 33), block(33, 32, 5)]
    one_chunk_each = run(chain.fused, torch.bfloat16, images, blocks)
    of_slices(2)
    for key, value in run(chain.fused, torch.bfloat16, images, blocks).items():
        assert distance(value, one_chunk_each[key]) < 0.005, key


@pytest.mark.parametrize("micro_kernel", MICRO_KERNELS, indirect=True)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("activation", ["relu", "celu", "gelu", "silu"])
def test_what_is_not_finite_stays_so(value, activation, micro_kernel):
    """With the running statistics, so that one pixel does not reach all images. Winograd's sums spread it to the
    pixels around it."""
    torch.manual_seed(3)
    images = torch.randn(40, 16, 8, 8).bfloat16()
    images[7, 3, 4, 4] = value
    blocks = [block(16, 32, activation=activation, pool=2)]
    options = {"training": False}
    expected = run(chain.reference, torch.float32, images, blocks, **options)
    result = run(chain.fused, torch.bfloat16, images, blocks, **options)
    others = torch.arange(40) != 7
    assert result["output"][others].isfinite().all()
    lost = result["output"][7].isfinite() & ~expected["output"][7].isfinite()
    assert not lost.any()
    assert not result["weight 0"].isfinite().all()


def test_nan_reaches_everything_through_the_statistics():
    images = torch.randn(40, 16, 8, 8).bfloat16()
    images[39, 3, 4, 4] = float("nan")
    result = run(chain.fused, torch.bfloat16, images, [block(16, 32), block(32, 32)])
    assert result["output"].isnan().all()
    assert result["running_mean 0"].isnan().all()


def test_frozen_tensors_get_no_gradient():
    images = torch.randn(8, 16, 6, 6).bfloat16()
    first, second = block(16, 32), block(32, 32)
    second.weight.requires_grad_()
    chain.fused(images, [first, second], training=True).float().sum().backward()
    assert second.weight.grad is not None
    assert first.weight.grad is None
    assert first.scale.grad is None


FIRST = {
    "a block": lambda: ((35, 16, 8, 8), [block(16, 32, pool=2), block(32, 32), block(32, 48)], None),
    "behind whitening": lambda: ((35, 3, 9, 9), [block(24, 32, pool=2), block(32, 32), block(32, 32)], whitening()),
    "a residual": lambda: (
        (35, 16, 6, 6),
        [block(16, 32), block(32, 32), block(32, 32, shortcut=0), block(32, 32)],
        None,
    ),
    "below a residual": lambda: (
        (35, 16, 6, 6),
        [block(16, 32), block(32, 32), block(32, 32, shortcut=0, adds_before_activation=False)],
        None,
    ),
}


@pytest.mark.parametrize("frozen", [1, 2])
@pytest.mark.parametrize("name", FIRST)
def test_frozen_blocks_leave_the_gradients_of_the_others_as_they_are(name, frozen):
    torch.manual_seed(3)
    shape, blocks, white = FIRST[name]()
    images = torch.randn(shape).bfloat16()

    def gradients(first_trained):
        trained = [
            each._replace(
                weight=each.weight.clone().requires_grad_(i >= first_trained),
                scale=each.scale.clone().requires_grad_(i >= first_trained),
                bias=each.bias.clone().requires_grad_(i >= first_trained),
                running_mean=each.running_mean.clone(),
                running_var=each.running_var.clone(),
            )
            for i, each in enumerate(blocks)
        ]
        output = chain.fused(images, trained, white, training=True)
        output.float().square().sum().backward()
        return output.detach(), [tensor.grad for each in trained for tensor in each[:3]]

    (output, others), (expected, all_of_them) = gradients(frozen), gradients(0)
    assert torch.equal(output, expected)
    assert others[: 3 * frozen] == [None] * (3 * frozen)
    for one, whole in zip(others[3 * frozen :], all_of_them[3 * frozen :], strict=True):
        assert torch.equal(one, whole)


def test_without_gradients_nothing_is_kept():
    with torch.no_grad():
        output = chain.fused(torch.randn(8, 16, 6, 6).bfloat16(), [block(16, 32)], training=False)
    assert output.grad_fn is None


def test_evaluation_keeps_no_places_of_maxima(monkeypatch):
    kernels, kept = fused.extension(), []
    convolve = kernels.convolve
    monkeypatch.setattr(kernels, "convolve", lambda *arguments: kept.append(arguments[4]) or convolve(*arguments))
    images, one = torch.randn(8, 3, 9, 9).bfloat16(), block(24, 32, pool=2)
    one.weight.requires_grad_()
    white = whitening()
    white.bias.requires_grad_()
    with torch.no_grad():
        chain.fused(images, [one], white, training=False)
    chain.fused(images, [one], white, training=False)
    assert kept == [False, True]


@pytest.mark.parametrize("name", FIRST)
def test_a_retained_graph_gives_the_same_gradients_again(name):
    torch.manual_seed(3)
    shape, blocks, white = FIRST[name]()
    for each in blocks:
        each.weight.requires_grad_()
    output = chain.fused(torch.randn(shape).bfloat16(), blocks, white, training=True)
    weights, seen = [each.weight for each in blocks], torch.randn_like(output)
    once, again = (torch.autograd.grad(output, weights, seen, retain_graph=keeps) for keeps in (True, False))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(output, weights, seen)


def test_images_that_change_before_the_backward_pass_are_an_error():
    images, one = torch.randn(8, 16, 6, 6).bfloat16().contiguous(memory_format=torch.channels_last), block(16, 32)
    one.weight.requires_grad_()
    output = chain.fused(images, [one], training=True).float().sum()
    images.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.backward()


def test_what_the_kernels_do_not_take():
    images, blocks = torch.randn(8, 16, 6, 6).bfloat16(), [block(16, 32)]
    assert chain.is_supported(images, blocks)
    assert not chain.is_supported(images.float(), blocks)
    assert not chain.is_supported(images[:0], blocks)
    assert not chain.is_supported(images, [])
    assert not chain.is_supported(images, [block(16, 32, kernel=2)])
    assert not chain.is_supported(images, [block(16, 32, pool=3)])
    assert not chain.is_supported(images, [block(16, 32, pool=2), *[block(32, 32, pool=2)] * 2])  # no pixel is left
    assert not chain.is_supported(images, [block(32, 32)])
    assert not chain.is_supported(images, [block(16, 32), block(16, 32)])
    assert chain.is_supported(images, [block(16, 32), block(32, 32, shortcut=0)])
    assert not chain.is_supported(images, [block(16, 32), block(32, 48, shortcut=0)])
    assert not chain.is_supported(images, [block(16, 32), block(32, 32, pool=2, shortcut=0)])
    assert not chain.is_supported(images, [block(16, 16, shortcut=0)])  # of itself
    assert not chain.is_supported(images, [block(16, 16, shortcut=-1)])
    assert not chain.is_supported(images, [block(16, 16), block(16, 16), block(16, 16, shortcut=-2)])
    assert not chain.is_supported(images, [block(16, 32, pool=(2, 2))])
    assert not chain.is_supported(images, [block(16, 32, pool=0)])
    assert not chain.is_supported(images[:, :3, :1, :1], [block(12, 32, pool=None)], whitening(12, 2, 0))
    assert not chain.is_supported(images, [blocks[0]._replace(scale=torch.ones(32).bfloat16())])
    assert not chain.is_supported(images, [blocks[0]._replace(activation="tanh")])
    assert not chain.is_supported(images[:, :3], [block(75, 32)], whitening(75, 5, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert not chain.is_supported(images, blocks)


@pytest.mark.parametrize(
    ("wanted", "images", "options", "runs"),
    [
        ("reference", 64, {"training": True}, "reference"),
        ("fast", 64, {"training": True}, "fused"),
        ("fast", 31, {"training": True}, "reference"),
        ("fast", 64, {"training": True, "group_size": 16}, "reference"),
        ("fast", 64, {"training": False, "group_size": 16}, "fused"),
    ],
)
def test_the_faster_version_runs_where_it_is_wanted_and_is_faster(wanted, images, options, runs, monkeypatch):
    versions = []
    for name in ("fused", "reference"):
        monkeypatch.setattr(chain, name, lambda *_, name=name, **__: versions.append(name))
    choice.use(wanted)
    chain.convolution_chain(torch.randn(images, 16, 6, 6).bfloat16(), [block(16, 32)], **options)
    assert versions == [runs]
