"""Records what a program does on a fake CUDA device: kernels, host synchronisations, mistakes of device and layout."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.fake_cuda.launches import launches, unlike

REPOSITORY = Path(__file__).resolve().parents[2]
CUDA = torch.device("cuda", 0)

SYNCHRONISING = {
    "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "histc", "equal", "is_nonzero",
    "repeat_interleave", "_linalg_eigh", "_linalg_check_errors",
}  # fmt: skip
"""operations whose CUDA kernels wait for the device"""
COPIES = ("clone", "_to_copy", "copy_", "contiguous")


class Finding(NamedTuple):
    """Something that the host or the device should not have to do."""

    kind: str
    """`sync`, `unpinned`, `device`, `layout`, `lists`, `meta`, `triton`"""
    lap: str | None
    """the lap in which it happened; None: between two"""
    what: str
    where: str
    """innermost file of the repository, with its line"""


class Signature(NamedTuple):
    """What a Triton program was called with: by each argument's name its type, or the value that is compiled in."""

    program: str
    module: str
    types: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, object], ...]


class Recorder(TorchDispatchMode):
    """To be entered after `self.fake`, the mode that makes every tensor fake."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
        self.lap: str | None = None
        self.laps: Counter[str] = Counter()
        """how often each began"""
        self.channels_last = True
        self.findings: Counter[Finding] = Counter()
        self.signatures: set[Signature] = set()
        self.step: Counter[str] = Counter()
        """kernels of the step in progress, by operation"""
        self.steps: list[Counter[str]] = []
        self._pinned: dict[int, Tensor] = {}

    def find(self, kind: str, what: str) -> None:
        self.findings[Finding(kind, self.lap, what, place())] += 1

    def end_step(self) -> None:
        self.steps.append(self.step)
        self.step = Counter()

    def synchronize(self, *device: object) -> None:
        """In place of `torch.cuda.synchronize`, which a clock calls outside of its laps."""
        if self.lap and not place().startswith("pipelines/host/devices.py"):
            self.find("sync", "synchronize")

    def values(self, tensor: Tensor) -> list[Any]:
        """In place of `Tensor.tolist`, which would wait for each element."""
        if tensor.is_cuda:
            self.find("sync", f"tolist of {tuple(tensor.shape)}")
        return np.ones(tensor.shape, str(tensor.dtype).removeprefix("torch.")).tolist()

    def pin(self, tensor: Tensor) -> Tensor:
        """In place of `Tensor.pin_memory`, which would make a real copy."""
        self._pinned[id(tensor)] = tensor
        return tensor

    def __torch_dispatch__(
        self, operation: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if operation.namespace == "prim":
            return operation(*args, **kwargs)
        name = operation._schema.name.split("::")[1]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        is_on_cuda = any(t.is_cuda for t in tensors) or str(kwargs.get("device", "")).startswith("cuda")
        self._look_for_waiting(name, args, kwargs, is_on_cuda)
        result = self._run(operation, name, tensors, args, kwargs)
        if is_on_cuda and self.lap == "train":
            self._look_at_step(operation, name, args, kwargs, result)
        return result

    def _run(self, operation: OpOverload, name: str, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        if name.startswith("_fused_") and name.endswith("_"):
            return None  # no fake kernel, and nothing to return
        try:
            return operation(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            if tensors[0].is_cuda:
                self.find("sync", name)
            return in_place_of_data(name, args, kwargs)
        except RuntimeError as error:
            if not any(words in str(error) for words in ("two different devices", "FakeTensor Device", "same device")):
                raise
            self.find("device", f"{name}: {' '.join(str(error).split())[:100]}")
            return operation(*tree_map(self._moved, args), **tree_map(self._moved, kwargs))

    def _moved(self, leaf: Any) -> Any:
        """The leaf on CUDA, so that the program goes on after a mistake."""
        if not isinstance(leaf, Tensor) or leaf.is_cuda or not leaf.dim():
            return leaf
        with self.fake:
            return leaf.to(CUDA)

    def _look_for_waiting(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], is_on_cuda: bool) -> None:
        """Operations during which the host waits for the device."""
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
            waits = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            if source.is_cuda and target.type == "cpu":
                self.find("sync", f"copy to the host {tuple(source.shape)}")
            elif source.device.type == "cpu" and target.type == "cuda" and waits:
                self.find("sync", f"copy to the device {tuple(source.shape)}")
            elif source.device.type == "cpu" and target.type == "cuda" and id(source) not in self._pinned:
                self.find("unpinned", f"copy to the device {tuple(source.shape)}")
        elif name in ("index", "index_put_", "index_put", "_index_put_impl_"):
            indices = [tensor for tensor in args[1] if isinstance(tensor, Tensor)]
            is_fill = name.startswith("index_put") and args[2].numel() == 1 and len(indices) == 1
            if any(t.is_cuda and t.dtype in (torch.bool, torch.uint8) for t in indices) and not is_fill:
                self.find("sync", f"{name} by a mask")
            if args[0].is_cuda and any(not tensor.is_cuda for tensor in indices):
                self.find("sync", f"{name} by indices on the host")
        elif is_on_cuda:
            is_without_replacement = name == "multinomial" and not (len(args) > 2 and args[2])
            if name in SYNCHRONISING or is_without_replacement:
                self.find("sync", name)

    def _look_at_step(
        self, operation: OpOverload, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Kernels of a training step, and copies that a better layout or dtype would save."""
        if name.startswith(("_foreach_", "_fused_")) and (why := unlike(name, args, kwargs)):
            self.find("lists", f"{name}: {why}")
        if name in ("convolution", "convolution_backward"):
            wanted = torch.channels_last if self.channels_last else torch.contiguous_format
            for tensor in args[: 2 + (name == "convolution_backward")]:
                if not tensor.is_contiguous(memory_format=wanted):
                    self.find("layout", f"{name} of {tuple(tensor.shape)} with strides {tensor.stride()}")
        elif name in COPIES and isinstance(result, Tensor) and result.dim() == 4:
            source = args[1] if name == "copy_" else args[0]
            if source.shape == result.shape and {layout(source), layout(result)} == {"channels last", "contiguous"}:
                self.find("layout", f"copy of {tuple(source.shape)} from {layout(source)} to {layout(result)}")
        if count := launches(operation, args, kwargs):
            self.step[name] += count

    def triton(self, program: Any, grid: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """In place of a launch of a Triton program."""
        bound = dict(zip(program.arg_names, args, strict=False)) | kwargs
        if sorted(bound) != sorted(program.arg_names):
            self.find("triton", f"{program.__name__} takes {program.arg_names} and was given {list(bound)}")
        if any(isinstance(value, Tensor) and not value.is_cuda for value in bound.values()):
            self.find("device", f"{program.__name__} of a tensor on the host")
        sizes = grid if isinstance(grid, tuple) else grid(bound)
        if any(size > 65535 for size in sizes[1:]):
            self.find("triton", f"{program.__name__} with a grid of {sizes}")
        constant = {p.name for p in program.params if p.is_constexpr or bound[p.name] is None}
        types = tuple((name, type_of(value)) for name, value in bound.items() if name not in constant)
        constants = tuple((name, bound[name]) for name in bound if name in constant)
        self.signatures.add(Signature(program.__name__, program.fn.__module__, types, constants))
        if self.lap == "train":
            self.step[program.__name__] += 1


TYPES = {
    torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.int32: "*i32",
    torch.uint8: "*u8", torch.bool: "*i1",
}  # fmt: skip


def type_of(value: Any) -> str:
    """Of an argument, as Triton writes it."""
    if isinstance(value, Tensor):
        return TYPES[value.dtype]
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    assert isinstance(value, float)
    return "fp32"


def layout(tensor: Tensor) -> str:
    """Of (N, C, H, W) images or filters, `both` where one dimension makes the two the same."""
    is_last = tensor.is_contiguous(memory_format=torch.channels_last)
    if is_last and tensor.is_contiguous():
        return "both"
    return "channels last" if is_last else "contiguous" if tensor.is_contiguous() else "other"


def place() -> str:
    """Where in the repository the innermost call is, outside of this folder."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        is_installed = "site-packages" in file.parts  # also where the environment lies in the checkout
        if file.is_relative_to(REPOSITORY) and not is_installed and file.parent != Path(__file__).parent:
            return f"{file.relative_to(REPOSITORY)}:{frame.f_lineno}"
        frame = frame.f_back
    return "autograd"


def in_place_of_data(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What an operation might return whose result depends on values that fake tensors do not have."""
    tensor = args[0]
    if name == "_local_scalar_dense":
        return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 1
    if name == "equal":
        return True
    if name == "nonzero":
        return tensor.new_empty((tensor.numel(), tensor.dim()), dtype=torch.int64)
    if name == "bincount":
        length = kwargs.get("minlength", args[2] if len(args) > 2 else 10)
        return tensor.new_empty((max(length, 1),), dtype=torch.int64)
    if name == "index" and len(args[1]) == 1:  # by a mask
        dims = args[1][0].dim()
        return tensor.new_empty((math.prod(tensor.shape[:dims]), *tensor.shape[dims:]))
    raise NotImplementedError(f"nothing stands for the result of {name}")
