from itertools import count
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from pipelines import recipe
from pipelines.data import sources
from pipelines.distributed.process_group import World
from pipelines.host.devices import use_float32
from pipelines.probes import roofline
from pipelines.probes.roofline import PARTS, REST, Counted, Rates, Roofline, StepTimes, examine, part_of, seconds_of

aten = torch.ops.aten
RATES = Rates(flops=1e9, bytes=1e6)


def counted(function, *tensors):
    mode = Counted(RATES)
    with mode:
        function(*tensors)
    return dict(mode.parts)


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        (aten.convolution.default, "convolution, forward"),
        (aten.convolution_backward.default, "convolution, backward"),
        (aten.addmm.default, "matrix products"),
        (aten.baddbmm.default, "matrix products"),
        (aten._scaled_dot_product_flash_attention.default, "attention"),
        (aten.native_batch_norm.default, "normalization"),
        (aten.native_batch_norm_backward.default, "normalization"),
        (aten.max_pool2d_with_indices_backward.default, "pooling"),
        (aten.gelu_backward.default, "activation"),
        (aten.silu_.default, "activation"),
        (aten._log_softmax_backward_data.default, "loss"),
        (aten._fused_sgd_.default, "optimizer"),
        (aten._foreach_mul_.Scalar, "optimizer"),
        (aten._to_copy.default, "copies"),
        (aten.mul.Tensor, REST),
        (aten.view.default, None),
        (aten.empty.memory_format, None),
        (aten.new_empty.default, None),
    ],
)
def test_the_part_of_an_operation(operation, part):
    assert part_of(operation) == part


def test_operations_and_bytes_of_a_convolution():
    images, weights = torch.ones(2, 3, 8, 8), torch.ones(5, 3, 3, 3)
    (part,) = counted(lambda: F.conv2d(images, weights, padding=1)).values()
    assert part.flops == 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)
    assert part.bytes == 4 * (2 * 3 * 64 + 5 * 3 * 9 + 2 * 5 * 64)
    assert part.calls == 1


def test_operations_of_attention():
    """Two products of every query with every key, forward, and five backward."""
    values = torch.ones(2, 3, 8, 4, requires_grad=True)
    parts = counted(lambda: F.scaled_dot_product_attention(values, values, values, is_causal=True).sum().backward())
    assert parts["attention"].flops == (2 + 5) * 2 * (2 * 3) * 8 * 8 * 4


def test_the_limit_is_the_longer_of_two_times():
    assert RATES.limit(flops=2e9, moved=1e6) == 2
    assert RATES.limit(flops=2e9, moved=3e6) == 3


def test_limits_are_of_single_operations():
    """Two operations, one bound by its products and one by its bytes, take the sum of both."""
    matrix, vector = torch.ones(100, 100), torch.ones(1000)
    parts = counted(lambda: (matrix @ matrix, vector * 2))
    assert parts["matrix products"].limit == 3 * 4e4 / RATES.bytes
    assert parts[REST].limit == 2 * 4e3 / RATES.bytes


def test_views_cost_nothing_and_an_expanded_tensor_counts_once():
    assert counted(lambda: torch.ones(4, 4)[:2].t()).keys() <= {"copies", REST}
    row = torch.ones(1, 8)
    assert counted(lambda: row.expand(100, 8) * 1)[REST].bytes == 4 * 8 + 4 * 800


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda one, other: one + other, 3),
        (lambda one, other: one.add_(other), 3),
        (lambda one, other: one.copy_(other), 2),
        (lambda one, other: one.zero_(), 1),
        (lambda one, other: torch._foreach_mul_([one, other], 2.0), 4),
        (lambda one, other: torch._foreach_copy_([one], [other]), 2),
        (lambda one, other: torch._foreach_zero_([one, other]), 2),
    ],
)
def test_a_tensor_that_is_changed_is_read_and_written_and_one_that_is_overwritten_is_written(function, tensors):
    one, other = torch.ones(1000), torch.ones(1000)
    (part,) = counted(function, one, other).values()
    assert part.bytes == tensors * one.nbytes


def test_a_step_is_examined():
    found = examine(recipe.load("digits/quick"), sources.blank("digits"), World())
    assert isinstance(found, Roofline)
    assert {"convolution, forward", "convolution, backward", "optimizer", "loss"} <= found.parts.keys()
    assert found.parts.keys() <= {*PARTS, REST}
    assert all(part.calls > 0 and part.seconds > 0 and part.bytes > 0 for part in found.parts.values())
    forward, backward = (found.parts[f"convolution, {name}"].flops for name in ("forward", "backward"))
    assert forward < backward <= 2 * forward  # the first layer has no gradient of its images
    assert found.step_seconds > 0
    assert min(found.rates.flops, found.rates.bytes) > 0


class MeasuredError(Exception):
    """The rates were to be measured."""


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
def test_the_rates_are_measured_in_the_recipe_s_float32(monkeypatch, precision):
    def measured_rates(dtype, device):
        raise MeasuredError(torch.backends.cuda.matmul.allow_tf32)

    use_float32("ieee" if precision == "tf32" else "tf32")  # left by a training before
    monkeypatch.setattr(roofline, "measured_rates", measured_rates)
    chosen = recipe.load("digits/quick", [f"float32_precision={precision}"])
    with pytest.raises(MeasuredError, match=str(precision == "tf32")):
        examine(chosen, sources.blank("digits"), World())
    use_float32("ieee")


def test_a_call_that_warms_up_does_not_count():
    calls = []
    seconds_of(lambda: calls.append(1), torch.device("cpu"), repetitions=3)
    assert len(calls) == 4


@pytest.fixture
def gpu(monkeypatch):
    """What was asked of a GPU on whose clock a second lies between two marks."""
    asked, marks = [], count()

    def mark():
        asked.append("mark")
        return next(marks)

    timer = SimpleNamespace(mark=mark, seconds=lambda start, end: end - start)
    monkeypatch.setattr(roofline, "make_timer", lambda device: timer)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append("wait"))
    return asked


def test_calls_are_queued_on_a_gpu_before_one_waits_for_them(gpu):
    assert seconds_of(lambda: gpu.append("call"), torch.device("cuda"), repetitions=2) == 1
    assert gpu == ["mark", "call", "mark"] * 3 + ["wait"]


def test_steps_are_timed_without_waiting_for_the_gpu(gpu):
    times = StepTimes(torch.device("cuda"))
    for _ in range(3):
        times.batch_ready(None)
        times.step_end(None)
    assert times.median() == 1
    assert gpu == ["mark"] * 6
