"""How the micro-benchmarks measure: on CUDA several calls between two synchronisations, on both a share of a ceiling.

`GB` is what an operation has to read and write at least, and `copy_share` how fast that is beside a copy of as much in
the same run; `GFLOP` what it has to compute at least, and `matmul_share` how fast beside a large matrix product.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

IS_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if IS_CUDA else "cpu")
CALLS = 20 if IS_CUDA else 1
"""between two synchronisations, which would else be part of what is measured"""
ROUNDS = 20 if IS_CUDA else 5
HALF = torch.float16 if IS_CUDA else torch.bfloat16
CACHE = 256 * 2**20
"""bytes that are written to empty a GPU's cache: more than any has"""

on_cuda = pytest.mark.skipif(not IS_CUDA, reason="for CUDA")
on_a_cpu = pytest.mark.skipif(IS_CUDA, reason="for a CPU")


def versions(module: Any, *plain: str, cpu: str | None = None, triton: str | None = None) -> list:
    """Versions of a kernel by name: its definition, other plain ones, what is for a CPU or for CUDA alone, and the
    definition in torch.compile."""
    cases = [pytest.param(getattr(module, name), id=name) for name in ("reference", *plain)]
    compiled = torch.compile(module.reference, dynamic=False)
    cases.append(pytest.param(compiled, id="compiled", marks=pytest.mark.compiled))
    if cpu:
        cases.append(pytest.param(getattr(module, cpu), id=cpu, marks=on_a_cpu))
    if triton:
        cases.append(pytest.param(getattr(module, triton), id=triton, marks=on_cuda))
    return cases


def synchronize() -> None:
    """Wait until the device has done all its work."""
    if IS_CUDA:
        torch.cuda.synchronize()


def several(function: Callable[[], Any]) -> None:
    for _ in range(CALLS):
        function()
    synchronize()


def seconds_of(function: Callable[[], Any]) -> float:
    """Of a call; the median of several rounds, after one that warms up."""
    several(function)
    times = [time.perf_counter()]
    for _ in range(ROUNDS):
        several(function)
        times.append(time.perf_counter())
    return median(after - before for before, after in pairwise(times)) / CALLS


def cold_seconds_of(function: Callable[[], Any]) -> float:
    """Of a call on CUDA that finds nothing in the cache."""
    rest = torch.empty(CACHE, dtype=torch.uint8, device=DEVICE)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(ROUNDS)]
    for start, end in events:
        rest.zero_()
        start.record()
        function()
        end.record()
    torch.cuda.synchronize()
    return median(start.elapsed_time(end) for start, end in events) / 1e3


def copy_bandwidth(size: int) -> float:
    """Bytes read and written a second by a copy of so many bytes."""
    source = torch.ones(max(size // 2, 1), dtype=torch.uint8, device=DEVICE)
    return 2 * len(source) / seconds_of(partial(torch.empty_like(source).copy_, source))


@cache
def matmul_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    side = 8192 if IS_CUDA else 1024
    matrix = torch.randn(side, side, device=DEVICE).to(dtype)
    return 2 * side**3 / seconds_of(partial(torch.mm, matrix, matrix))


def measure(
    benchmark: BenchmarkFixture, function: Callable[[], Any], moved: int, flop: int = 0, dtype: torch.dtype = HALF
) -> None:
    """`moved`: bytes that the operation has to read and write at least; `flop`: what it has to compute, in `dtype`."""
    copy = copy_bandwidth(moved)
    benchmark.pedantic(several, args=(function,), rounds=ROUNDS, warmup_rounds=2)
    seconds = benchmark.stats.stats.median / CALLS
    benchmark.extra_info |= {
        "device": torch.cuda.get_device_name() if IS_CUDA else "cpu",
        "calls": CALLS,
        "seconds_per_call": seconds,
        "GB": round(moved / 1e9, 6),
        "copy_share": round(moved / seconds / copy, 4),
    }
    if flop:
        benchmark.extra_info["GFLOP"] = round(flop / 1e9, 6)
        benchmark.extra_info["matmul_share"] = round(flop / seconds / matmul_rate(dtype), 4)
    if IS_CUDA:
        benchmark.extra_info["cold_seconds_per_call"] = cold_seconds_of(function)


def interleaved(benchmark: BenchmarkFixture, rounds: int = 2 * ROUNDS - 1, **functions: Callable[[], Any]) -> None:
    """Two functions, one after the other and again: `ratio` is the median over the rounds of the seconds of the first
    over those of the second, `quartiles` its spread."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}

    def both() -> None:
        for name, function in functions.items():
            started = time.perf_counter()
            several(function)
            seconds[name].append((time.perf_counter() - started) / CALLS)

    benchmark.pedantic(both, rounds=rounds, warmup_rounds=1)
    measured = {name: values[1:] for name, values in seconds.items()}
    ratios = [first / second for first, second in zip(*measured.values(), strict=True)]
    low, _, high = quantiles(ratios, n=4)
    benchmark.extra_info |= {f"{name}_seconds": median(values) for name, values in measured.items()}
    benchmark.extra_info |= {"ratio": round(median(ratios), 3), "quartiles": [round(low, 3), round(high, 3)]}


def forward_and_backward(function: Callable[..., Tensor], leaves: list[Tensor], seen: Tensor | None = None) -> None:
    torch.autograd.grad(function(*leaves), leaves, seen)
