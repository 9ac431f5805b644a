"""The C++ versions are compiled where they are not yet."""

import pytest

from kernels import choice


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(choice, "_version", "fast")
