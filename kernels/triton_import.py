"""Triton where it is installed (torch for CUDA brings it); without it, its kernels are plain functions nobody calls."""

from typing import Any

try:
    import triton
    import triton.language as tl
    from triton import jit
except ImportError:
    triton = tl = None

    def jit(function: Any) -> Any:
        return function


__all__ = ["jit", "tl", "triton"]
