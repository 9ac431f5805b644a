import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.label_smoothing_cross_entropy import fused, label_smoothing_cross_entropy, reference
from tests.kernels.versions import DEVICE, error, with_triton

VERSIONS = [reference, with_triton(fused)]


def draw(rows, classes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(rows, classes, generator=generator)
    return logits.to(DEVICE, dtype), torch.randint(classes, (rows,), generator=generator).to(DEVICE)


@pytest.mark.parametrize("version", VERSIONS)
@given(
    rows=st.integers(1, 40),
    classes=st.integers(1, 70),
    smoothing=st.sampled_from([0.0, 0.1, 0.6]),
    reduction=st.sampled_from(["mean", "sum"]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_loss_and_gradient_are_those_of_float64(version, rows, classes, smoothing, reduction, dtype, seed):
    logits, labels = draw(rows, classes, dtype, seed)
    logits.requires_grad_()
    loss = version(logits, labels, smoothing, reduction)
    expected = F.cross_entropy(logits.double(), labels, reduction=reduction, label_smoothing=smoothing)
    assert loss.dtype == torch.float32
    assert error(loss.detach(), expected.detach()) < 1e-5
    (gradient,), (wanted,) = (torch.autograd.grad(scalar * 3, logits) for scalar in (loss, expected))
    assert gradient.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 2**-7}[dtype]
    assert error(gradient, wanted) < 3 * tolerance


@pytest.mark.parametrize("version", VERSIONS)
def test_logits_with_gaps_in_memory(version):
    logits, labels = draw(14, 30)
    some, theirs = logits.T[::3, ::2].T, labels[::2] % 10
    expected = reference(some.double(), theirs, 0.2)
    assert error(version(some, theirs, 0.2), expected) < 1e-5


@pytest.mark.parametrize("version", VERSIONS)
def test_a_small_float16_gradient_is_scaled_before_it_is_rounded(version):
    logits = torch.tensor([[18.0, 0, 0]], dtype=torch.float16, device=DEVICE, requires_grad=True)
    label = torch.tensor([0], device=DEVICE)
    small, scaled = (torch.autograd.grad(version(logits, label) * factor, logits)[0] for factor in (1, 1024))
    assert (small[0, 1:] == 0).all()
    assert (scaled[0, 1:] > 0).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy in the interpreter
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("version", [with_triton(fused)])
def test_special_values_go_as_far_as_in_the_definition(version, special, smoothing):
    logits, labels = draw(5, 4)
    logits[2, 1], labels[2] = special, 3
    logits[3, 1], labels[3] = special, 1
    logits.requires_grad_()
    (loss, expected) = (function(logits, labels, smoothing, "sum") for function in (version, reference))
    torch.testing.assert_close(loss, expected, equal_nan=True)
    gradients = [torch.autograd.grad(scalar, logits)[0] for scalar in (loss, expected)]
    torch.testing.assert_close(*gradients, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_the_public_name_takes_what_triton_does_not():
    logits, labels = draw(6, 4, torch.float64)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert error(label_smoothing_cross_entropy(logits, labels, 0.1), expected) < 1e-6
    soft = torch.softmax(logits, 1)
    assert error(label_smoothing_cross_entropy(logits, soft.float()), F.cross_entropy(logits, soft)) < 1e-6
