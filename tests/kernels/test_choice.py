import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels import choice


@pytest.fixture
def cuda(monkeypatch):
    """Tensors that say they are on CUDA, beside a Triton that is installed."""
    monkeypatch.setattr(choice, "triton", object())
    with FakeTensorMode() as mode:
        mode.allow_non_fake_inputs = True
        yield lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device="cuda")


def test_a_cpu_runs_nothing_that_is_for_cuda():
    assert not choice.is_fast(torch.ones(2))
    assert not choice.is_for_triton(torch.ones(2))


@pytest.mark.parametrize("dtype", choice.TRITON_DTYPES)
def test_cuda_runs_triton(cuda, dtype):
    assert choice.is_for_triton(cuda(3, 4, dtype=dtype))


def test_what_triton_does_not_take(cuda, monkeypatch):
    assert choice.is_fast(cuda(3, dtype=torch.float64))
    assert not choice.is_for_triton(cuda(3, dtype=torch.float64))
    assert not choice.is_for_triton(cuda(0, 4))
    assert not choice.is_for_triton(cuda(2**16, 2**15))
    monkeypatch.setattr(choice, "triton", None)
    assert choice.is_fast(cuda(3))
    assert not choice.is_for_triton(cuda(3))


def test_torch_compile_fuses_by_itself(cuda, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert choice.is_fast(cuda(3))
    assert not choice.is_for_triton(cuda(3))


def test_the_recipe_may_want_the_definitions(cuda, monkeypatch):
    monkeypatch.setattr(choice, "_version", "fast")
    choice.use("reference")
    assert not choice.is_wanted()
    assert not choice.is_fast(cuda(3))
    choice.use("fast")
    assert choice.is_wanted()
    assert choice.is_fast(cuda(3))
