import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.augment import Choices, augment, by_rows, gathered, reference
from tests.kernels.versions import DEVICE, on_a_cpu, with_triton

VERSIONS = [pytest.param(by_rows, marks=on_a_cpu), with_triton(gathered)]
HEIGHT, WIDTH = 6, 7


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


def run(version, padded, order, choices):
    out = padded.new_full((len(order), HEIGHT, WIDTH, padded.shape[3]), 7)
    version(padded, order, out, choices)
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


@pytest.mark.parametrize("version", [with_triton(gathered)])
@given(**EXAMPLES)
@settings(max_examples=10)
def test_triton_gives_the_same_in_bfloat16(version, **example):
    arguments = draw(**example, dtype=torch.bfloat16)
    result, expected = run(version, *arguments), run(reference, *arguments)
    # the interpreter cuts off where a GPU rounds
    torch.testing.assert_close(result, expected, rtol=2**-7, atol=0)


@pytest.mark.parametrize("version", [reference, *VERSIONS])
def test_special_values_are_carried_along_and_cut_out(version):
    padded, order, choices = draw(4, 0, 2, {"flip", "shift", "scale"}, torch.float32, seed=0)
    padded[:] = torch.tensor([float("nan"), float("inf"), -float("inf")], device=DEVICE)
    result = run(version, padded, order, choices)
    assert (result == 0).sum() == 4 * 2 * 2 * 3
    assert result[..., 0].isnan().sum() == result[..., 1].isposinf().sum() == result[..., 2].isneginf().sum()


@pytest.mark.parametrize("version", [reference, *VERSIONS])
def test_choices_with_gaps_in_memory(version):
    padded, order, choices = draw(12, 2, 3, {"flip"}, torch.float32, seed=0)
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
