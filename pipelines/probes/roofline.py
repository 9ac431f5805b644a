"""What the time of a training step leaves to the machine's limit, part by part (Williams, Waterman & Patterson 2009).

The limit of an operation is the longer of two times: its floating-point operations at the rate of a large matrix
product, and the bytes that it reads and writes at the rate of a large copy. Both rates are measured here.
Operations are timed one by one by torch's profiler in an eager step. Fusion can beat the sum of their limits.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.host.devices import make_clock, make_timer, number_formats, use_float32
from pipelines.recipe import Recipe
from pipelines.train import TrainingSetup, run_trial, set_up

STEPS = 6
"""of the training whose last step is examined"""
PREFIX = "roofline "
PARTS = {
    "convolution, backward": r"convolution_backward",
    "convolution, forward": r"conv",
    "attention": r"scaled_dot_product",
    "matrix products": r"(add|badd)?b?mm$|linear|dot$",
    "normalization": r"norm",
    "pooling": r"pool",
    "activation": r"(gelu|silu|celu|elu|relu|mish|sigmoid)(_backward)?_?$",
    "loss": r"softmax|nll_loss|one_hot",
    "optimizer": r"_foreach_|_fused_",
    "copies": r"copy|clone|zero_$|fill_",
}
"""by the names of operations; the first that is found in a name counts"""
REST = "other operations"
OVERWRITING = re.compile(r"aten::(_foreach_)?(copy|fill|zero)_")
"""operations that do not read the tensors that they change"""
aten = torch.ops.aten
for suffix in ("", "_backward"):  # torch 2.13 counts the attention of CUDA alone
    of_cuda, of_cpu = (getattr(aten, f"_scaled_dot_product_flash_attention{on}{suffix}") for on in ("", "_for_cpu"))
    flop_registry.setdefault(of_cpu, flop_registry[of_cuda])
UNNAMED = "kernels outside of operations"
"""on CUDA: those that Triton launches"""


@dataclass(frozen=True)
class Rates:
    """What the machine reaches."""

    flops: float
    """a second, in a large matrix product in the recipe's dtype"""
    bytes: float
    """read and written a second by a large copy"""

    def limit(self, flops: float, moved: float) -> float:
        """Seconds that an operation takes at least."""
        return max(flops / self.flops, moved / self.bytes)


@dataclass
class Part:
    """Operations of one kind in a step."""

    calls: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    limit: float = 0.0
    """seconds at least, the sum over the operations"""
    seconds: float = 0.0
    """measured"""


@dataclass(frozen=True)
class Roofline:
    """A training step of one process."""

    rates: Rates
    step_seconds: float
    """median, as the recipe trains, uncounted and untraced"""
    parts: dict[str, Part] = field(default_factory=dict)
    """by name, from an eager step"""


class Counted(TorchDispatchMode):
    """Counts floating-point operations and bytes of every operation, and names it in a trace."""

    def __init__(self, rates: Rates) -> None:
        super().__init__()
        self.parts: dict[str, Part] = defaultdict(Part)
        self._rates = rates

    def __torch_dispatch__(
        self, operation: OpOverload, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = part_of(operation)
        if name is None:
            return operation(*args, **kwargs)
        with record_function(PREFIX + name):
            result = operation(*args, **kwargs)
        count = flop_registry.get(operation.overloadpacket)
        flops = count(*args, **kwargs, out_val=result) if count else 0
        moved = bytes_moved(operation, args, kwargs, result)
        part = self.parts[name]
        part.calls += 1
        part.flops += flops
        part.bytes += moved
        part.limit += self._rates.limit(flops, moved)
        return result


class LastStep:
    """An observer that examines the last step of a trial."""

    def __init__(self, rates: Rates, device: torch.device) -> None:
        self.counted = Counted(rates)
        cuda = [ProfilerActivity.CUDA] if device.type == "cuda" else []
        self.trace = profile(activities=[ProfilerActivity.CPU, *cuda])
        self._synchronize = torch.cuda.synchronize if cuda else lambda: None

    def batch_ready(self, state: State) -> None:
        if state.step == state.steps - 1:
            self._synchronize()
            self.trace.__enter__()
            self.counted.__enter__()

    def step_end(self, state: State) -> None:
        if state.step == state.steps:
            self.counted.__exit__(None, None, None)
            self._synchronize()
            self.trace.__exit__(None, None, None)


class StepTimes:
    """An observer that times every step by the device's own clock, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self._timer = make_timer(device)
        self._marks: list[tuple[Any, Any]] = []

    def batch_ready(self, state: State) -> None:
        self._start = self._timer.mark()

    def step_end(self, state: State) -> None:
        self._marks.append((self._start, self._timer.mark()))

    def median(self) -> float:
        """Seconds, once the training has ended."""
        return statistics.median(self._timer.seconds(*step) for step in self._marks)


def part_of(operation: OpOverload) -> str | None:
    """The part that an operation belongs to; None if it moves nothing: a view, or an allocation."""
    name = operation._schema.name.partition("::")[2]
    returned = [value.alias_info for value in operation._schema.returns]
    is_view = bool(returned) and all(alias is not None and not alias.is_write for alias in returned)
    if is_view or re.match(r"(new_)?empty|_unsafe_view|detach|set_", name):
        return None
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), REST)


def bytes_moved(operation: OpOverload, args: Sequence[Any], kwargs: dict[str, Any], result: object) -> int:
    """What an operation reads, and what it writes: new tensors, or arguments that it changes."""
    schema = operation._schema
    given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
    is_written = {argument.name: argument.is_write for argument in schema.arguments}
    changed = [value for name, value in given.items() if is_written[name]]
    read = [value for name, value in given.items() if not (is_written[name] and OVERWRITING.fullmatch(schema.name))]
    is_new = all(returned.alias_info is None for returned in schema.returns)
    return size(read) + size(changed) + (size(result) if is_new else 0)


def size(values: object) -> int:
    """Bytes of all tensors in memory, where an expanded one counts once."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
    return sum(min(tensor.nbytes, tensor.untyped_storage().nbytes()) for tensor in tensors)


def examine(recipe: Recipe, dataset: Dataset, world: World) -> Roofline:
    """Train a few steps of the recipe on noise in the data set's shape, three times. For one process.

    ValueError when recipe, data and device do not go together.
    """
    device = world.device
    brief = recipe.model_copy(update={"epochs": 1.0})
    noise = in_shape_of(dataset, STEPS * recipe.batch_size, recipe.evaluation.batch_size)
    use_float32(recipe.float32_precision)  # as the training whose limits they are
    rates = measured_rates(number_formats(recipe, device)[1], device)
    setup = set_up(brief, noise, world)
    run_trial(setup, 0)  # allocates, compiles
    times = StepTimes(device)
    run_trial(setup, 0, [times])
    eager = setup if recipe.compile is False else set_up(brief.model_copy(update={"compile": False}), noise, world)
    return Roofline(rates, times.median(), parts_of(eager, rates))


def parts_of(setup: TrainingSetup, rates: Rates) -> dict[str, Part]:
    """The parts of an eager step."""
    observer = LastStep(rates, setup.world.device)
    run_trial(setup, 0, [observer])
    parts, is_cuda = dict(observer.counted.parts), setup.world.device.type == "cuda"
    for event in observer.trace.events():
        if event.name.startswith(PREFIX) and event.device_type == torch.autograd.DeviceType.CPU:
            spent = event.device_time_total if is_cuda else event.cpu_time_total
            parts[event.name.removeprefix(PREFIX)].seconds += spent / 1e6
    if is_cuda:
        on_device = (e for e in observer.trace.events() if e.device_type == torch.autograd.DeviceType.CUDA)
        whole = sum(event.time_range.elapsed_us() for event in on_device if not event.is_user_annotation) / 1e6
        parts[UNNAMED] = Part(seconds=max(whole - sum(part.seconds for part in parts.values()), 0.0))
    return parts


def in_shape_of(dataset: Dataset, train: int, test: int) -> Dataset:
    """Noise for so many steps."""
    counts = {"train": train, "test": test, "validation": test if len(dataset.validation_images) else 0}
    return dataset.noise(counts | {"pool": min(train, len(dataset.pool_images))})


def measured_rates(dtype: torch.dtype, device: torch.device) -> Rates:
    """The rates of this machine: medians of several repetitions, after one that warms up."""
    is_cuda = device.type == "cuda"
    side, length = (8192, 2**28) if is_cuda else (2048, 2**27)
    matrix = torch.randn(side, side, device=device).to(dtype)
    source = torch.ones(length, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = seconds_of(lambda: torch.mm(matrix, matrix), device)
    return Rates(2 * side**3 / product, 2 * length / seconds_of(lambda: target.copy_(source), device))


def seconds_of(function: Callable[[], object], device: torch.device, repetitions: int = 7) -> float:
    """Median seconds of a call, by the device's own clock: on a GPU one call is queued behind the other, since waiting
    for each would count as its time."""
    timer, calls = make_timer(device), []
    for _ in range(repetitions + 1):
        start = timer.mark()
        function()
        calls.append((start, timer.mark()))
    make_clock(device).synchronize()
    return statistics.median(timer.seconds(*call) for call in calls[1:])
