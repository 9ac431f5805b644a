from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from kernels import choice
from kernels.augment import Choices, augment, by_rows, fused, gathered, reference
from kernels.cpu import build
from tests.kernels.cpu.chains import needs_kernels
from tests.kernels.versions import DEVICE, needs_triton, on_a_cpu, with_triton

VERSIONS = [pytest.param(by_rows, marks=on_a_cpu), with_triton(gathered)]
IN_C = pytest.param(fused, marks=[on_a_cpu, needs_kernels])
HEIGHT, WIDTH = 6, 7


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """The C++ version is compiled where it is not yet."""
    monkeypatch.setattr(choice, "_version", "fast")


def draw(count, crop, cutout, what, dtype, seed, channels=3, of=9):
    """Padded images, an order with repetitions, and the choices for it that are named in `what`."""
    generator = torch.Generator().manual_seed(seed)

    def integers(high):
        return torch.randint(high, (count,), generator=generator).to(DEVICE)

    padded = torch.randn(of, HEIGHT + 2 * crop, WIDTH + 2 * crop, channels, generator=generator).to(DEVICE, dtype)
    drawn = {"flip": integers(2).bool()}
    drawn |= {"shift": integers(99) / 100 - 0.5, "scale": integers(99) / 100 + 0.5}
    places = {"cutout_top": integers(HEIGHT - cutout + 1), "cutout_left": integers(WIDTH - cutout + 1)}
    chosen = {name: value for name, value in drawn.items() if name in what}
    chosen |= places | {"cutout": cutout} if cutout else {}
    return padded, integers(of), Choices(integers(2 * crop + 1), integers(2 * crop + 1), **chosen)


def run(version, padded, order, choices, resized=(HEIGHT, WIDTH)):
    out = padded.new_full((len(order), *resized, padded.shape[3]), 7)
    version(padded, order, out, choices, (HEIGHT, WIDTH))
    return out


EXAMPLES = {
    "count": st.integers(1, 13),
    "crop": st.integers(0, 3),
    "cutout": st.integers(0, HEIGHT),
    "what": st.sets(st.sampled_from(["flip", "shift", "scale"])),
    "channels": st.integers(1, 3),
    "seed": st.integers(0, 2**32 - 1),
}


@given(**EXAMPLES)
@settings(max_examples=30)
def test_the_definition_is_that_of_an_image_at_a_time(**example):
    padded, order, choices = draw(**example, dtype=torch.float64)
    results = run(reference, padded, order, choices)
    for i, index in enumerate(order.tolist()):
        row, column = choices.top[i], choices.left[i]
        image = padded[index, row : row + HEIGHT, column : column + WIDTH].clone()
        if choices.flip is not None and choices.flip[i]:
            image = image.flip(1)
        image = image + (0 if choices.shift is None else choices.shift[i])
        image = image * (1 if choices.scale is None else choices.scale[i])
        if choices.cutout:
            row, column = choices.cutout_top[i], choices.cutout_left[i]
            image[row : row + choices.cutout, column : column + choices.cutout] = 0
        assert torch.equal(results[i], image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("version", VERSIONS)
@given(**EXAMPLES)
@settings(max_examples=20)
def test_the_others_give_the_same_to_the_bit(version, dtype, **example):
    arguments = draw(**example, dtype=dtype)
    assert torch.equal(run(version, *arguments), run(reference, *arguments))


@needs_kernels
@on_a_cpu
@given(**EXAMPLES)
@settings(max_examples=40)
def test_c_gives_the_same_to_the_bit_in_bfloat16(**example):
    arguments = draw(**example, dtype=torch.bfloat16)
    assert torch.equal(run(fused, *arguments), run(reference, *arguments))


RESIZED = [(4, 5), (6, 6), (1, 1), (9, 7), (13, 20)]


@pytest.mark.parametrize("resized", RESIZED)
@given(**EXAMPLES)
@settings(max_examples=5)
def test_crops_are_resized_bilinearly(resized, **example):
    arguments = draw(**example, dtype=torch.float64)
    crops = run(reference, *arguments).permute(0, 3, 1, 2)
    expected = interpolate(crops, resized, mode="bilinear").permute(0, 2, 3, 1)
    torch.testing.assert_close(run(reference, *arguments, resized), expected)


@pytest.mark.parametrize("resized", RESIZED)
@pytest.mark.parametrize(
    ("version", "dtype"),
    [
        pytest.param(by_rows, torch.float32, marks=on_a_cpu),
        pytest.param(by_rows, torch.bfloat16, marks=on_a_cpu),
        pytest.param(gathered, torch.float32, marks=needs_triton),
        pytest.param(fused, torch.bfloat16, marks=[on_a_cpu, needs_kernels]),
    ],
)
@given(**EXAMPLES)
@settings(max_examples=10)
def test_the_others_resize_too(version, resized, dtype, **example):
    arguments = draw(**example, dtype=dtype)
    result, expected = run(version, *arguments, resized), run(reference, *arguments, resized)
    unit = 2**-7 if dtype == torch.bfloat16 else 1e-6  # the last bit
    torch.testing.assert_close(result, expected, rtol=unit, atol=1e-5)  # of sums of values of both signs


@needs_kernels
@on_a_cpu
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_c_in_several_threads_and_over_many_images(threads):
    arguments = draw(1000, 2, 3, {"flip", "shift", "scale"}, torch.bfloat16, seed=0, of=200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        result = run(fused, *arguments)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(result, run(reference, *arguments))


@needs_kernels
@on_a_cpu
@pytest.mark.parametrize("name", ["top", "left", "cutout_top", "cutout_left"])
@pytest.mark.parametrize("place", [-1, 99])
def test_c_refuses_what_is_outside_the_images(name, place):
    padded, order, choices = draw(5, 2, 3, {"flip"}, torch.bfloat16, seed=0)
    getattr(choices, name)[3] = place
    with pytest.raises(RuntimeError, match="outside the"):
        run(fused, padded, order, choices)
    with pytest.raises(RuntimeError, match="outside the padded images"):
        run(fused, padded, order + len(padded), draw(5, 2, 3, {"flip"}, torch.bfloat16, seed=0)[2])


@needs_kernels
@on_a_cpu
@pytest.mark.parametrize("name", ["top", "left", "flip", "shift", "scale", "cutout_top", "cutout_left"])
def test_c_refuses_fewer_choices_than_images(name):
    padded, order, choices = draw(5, 2, 3, {"flip", "shift", "scale"}, torch.bfloat16, seed=0)
    fewer = replace(choices, **{name: getattr(choices, name)[:4]})
    with pytest.raises(RuntimeError, match="as many choices and results as images"):
        run(fused, padded, order, fewer)


@needs_kernels
@on_a_cpu
def test_what_ran_is_noted():
    choice.use("fast")
    run(augment, *draw(5, 2, 3, {"flip"}, torch.float32, seed=0))
    assert choice.ran() == ()
    run(augment, *draw(5, 2, 3, {"flip"}, torch.bfloat16, seed=0))
    assert choice.ran() == (f"augment: {build.instructions().name}",)
    choice.use("reference")
    run(augment, *draw(5, 2, 3, {"flip"}, torch.bfloat16, seed=0))
    assert choice.ran() == ()


@pytest.mark.parametrize("version", [with_triton(gathered)])
@given(**EXAMPLES)
@settings(max_examples=10)
def test_triton_gives_the_same_in_bfloat16(version, **example):
    arguments = draw(**example, dtype=torch.bfloat16)
    result, expected = run(version, *arguments), run(reference, *arguments)
    # the interpreter cuts off where a GPU rounds
    torch.testing.assert_close(result, expected, rtol=2**-7, atol=0)


@pytest.mark.parametrize("version", [reference, *VERSIONS, IN_C])
def test_special_values_are_carried_along_and_cut_out(version):
    dtype = torch.bfloat16 if version is fused else torch.float32
    padded, order, choices = draw(4, 0, 2, {"flip", "shift", "scale"}, dtype, seed=0)
    padded[:] = torch.tensor([float("nan"), float("inf"), -float("inf")], device=DEVICE)
    result = run(version, padded, order, choices)
    assert (result == 0).sum() == 4 * 2 * 2 * 3
    assert result[..., 0].isnan().sum() == result[..., 1].isposinf().sum() == result[..., 2].isneginf().sum()


@pytest.mark.parametrize("version", [reference, *VERSIONS, IN_C])
def test_choices_with_gaps_in_memory(version):
    dtype = torch.bfloat16 if version is fused else torch.float32
    padded, order, choices = draw(12, 2, 3, {"flip"}, dtype, seed=0)
    result = run(version, padded, order[::3], choices.of(slice(None, None, 3)))
    assert torch.equal(result, run(reference, padded, order, choices)[::3])


@on_a_cpu
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float64])
def test_a_cpu_goes_through_the_images_piece_by_piece(dtype, monkeypatch):
    monkeypatch.setattr("kernels.augment.CACHED", 4)
    arguments = draw(13, 2, 3, {"flip"}, dtype, seed=0)
    assert torch.equal(run(by_rows, *arguments), run(reference, *arguments))


@on_a_cpu
def test_the_public_name_takes_what_lies_with_gaps_and_nothing_at_all():
    padded, order, choices = draw(5, 2, 3, {"flip"}, torch.float32, seed=0)
    apart = torch.stack([padded, padded], 4)[..., 0]
    assert torch.equal(run(augment, apart, order, choices), run(reference, padded, order, choices))
    assert len(run(augment, padded, order[:0], choices.of(slice(0)))) == 0


def test_the_public_name_takes_what_triton_does_not():
    arguments = draw(5, 2, 3, {"flip"}, torch.int16, seed=0)
    assert torch.equal(run(augment, *arguments), run(reference, *arguments))
