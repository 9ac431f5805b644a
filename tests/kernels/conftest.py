import pytest

from kernels import choice


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """The faster versions, where the tensors are for them."""
    monkeypatch.setattr(choice, "_version", "fast")
