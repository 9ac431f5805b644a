import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels import choice

OPERATION = "ghost_batch_norm"


@pytest.fixture
def cuda(monkeypatch):
    """Tensors that say they are on CUDA, beside a Triton that is installed."""
    monkeypatch.setattr(choice, "triton", object())
    with FakeTensorMode() as mode:
        mode.allow_non_fake_inputs = True
        yield lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device="cuda")


@pytest.fixture
def use(monkeypatch):
    monkeypatch.setattr(choice, "_version", "auto")
    return choice.use


@pytest.mark.parametrize("version", ["auto", "fast"])
def test_a_cpu_runs_no_triton(use, version):
    use(version)
    assert not choice.is_for_triton(OPERATION, torch.ones(2))


@pytest.mark.parametrize("version", ["auto", "fast"])
@pytest.mark.parametrize("dtype", choice.TRITON_DTYPES)
def test_cuda_runs_triton(cuda, use, version, dtype):
    use(version)
    assert choice.is_for_triton(OPERATION, cuda(3, 4, dtype=dtype))


def test_what_triton_does_not_take(cuda, monkeypatch):
    assert not choice.is_for_triton(OPERATION, cuda(3, dtype=torch.float64))
    assert not choice.is_for_triton(OPERATION, cuda(0, 4))
    assert not choice.is_for_triton(OPERATION, cuda(2**16, 2**15))
    monkeypatch.setattr(choice, "triton", None)
    assert not choice.is_for_triton(OPERATION, cuda(3))


def test_torch_compile_fuses_by_itself(cuda, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not choice.is_for_triton(OPERATION, cuda(3))


def test_what_ran_is_noted_until_the_next_use(use):
    use("fast")
    choice.note("b: avx512_bf16")
    choice.note("a: amx")
    choice.note("a: amx")
    assert choice.ran() == ("a: amx", "b: avx512_bf16")
    use("fast")
    assert choice.ran() == ()


@pytest.mark.parametrize(("version", "wanted"), [("reference", False), ("fast", True), ("auto", False)])
def test_what_a_recipe_wants_on_a_cpu(use, version, wanted):
    use(version)
    assert choice.is_wanted(OPERATION, torch.ones(2)) == wanted
    assert choice.is_wanted("augment", torch.ones(2)) == (version != "reference")


def test_auto_runs_what_the_table_names(cuda, use, monkeypatch):
    use("auto")
    monkeypatch.setattr(choice, "FASTEST", {"cuda": {"augment"}})
    assert choice.is_wanted("augment", cuda(2))
    assert not choice.is_wanted(OPERATION, cuda(2))
    assert not choice.is_wanted("augment", torch.ones(2))
