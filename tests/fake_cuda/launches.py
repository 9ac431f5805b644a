"""How many kernels an operation of ATen launches on CUDA, from its schema and its arguments.

One an operation, except for views and allocations (none), operations over lists of tensors (as ATen's
MultiTensorApply.cuh cuts them up), and those in `launches`. A softmax, a batch norm or a convolution with its bias
counts as one, although it may take two kernels; copies from device to device count too. So the number is for comparing
programs with each other, not with a trace.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch._prims_common import is_non_overlapping_and_dense_or_false
from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATIONS = {
    "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted", "set_", "resize_",
    "lift_fresh", "_unsafe_view", "_reshape_alias", "_local_scalar_dense", "is_same_size",
}  # fmt: skip
"""operations without a kernel, beside the views"""
MOST_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
"""`depth_to_max_tensors`: tensors a launch, by the number of lists"""
MOST_BLOCKS = 320
CHUNK = 65536
"""elements a block"""


class Counted(TorchDispatchMode):
    """Counts the kernels that the operations within it would launch on CUDA."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def __torch_dispatch__(
        self, operation: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.launches += launches(operation, args, kwargs or {})
        return operation(*args, **(kwargs or {}))


def launches(operation: OpOverload, arguments: Sequence[Any], keywords: dict[str, Any]) -> int:
    """Kernels of one call whose tensors are on CUDA."""
    name = operation._schema.name.split("::")[1]
    is_empty = isinstance(arguments[0], Tensor) and not arguments[0].numel() if arguments else False
    if name in ALLOCATIONS or is_view(operation) or is_empty:
        return 0
    if name.startswith(("_foreach_", "_fused_")):
        return of_lists(name, arguments, keywords)
    if name == "convolution_backward":
        return sum(map(bool, arguments[10]))  # of images, weights, bias
    if name in ("baddbmm", "addmm"):
        is_elsewhere = keywords.get("out") is not arguments[0]
        is_copied = is_elsewhere and arguments[0].dim() > 1 and keywords.get("beta", 1) != 0
        return 1 + is_copied  # a matrix that is added to is first copied to where the result goes
    return 1


def is_view(operation: OpOverload) -> bool:
    returned = [result.alias_info for result in operation._schema.returns]
    return bool(returned) and all(alias is not None and not alias.is_write for alias in returned)


def of_lists(name: str, arguments: Sequence[Any], keywords: dict[str, Any]) -> int:
    """Kernels of an operation over lists of tensors, fused or, where ATen does not fuse it, a tensor at a time."""
    lists = tensor_lists(arguments, keywords)
    if name == "_foreach_norm":
        return chunked(lists) + 1
    if name.startswith("_foreach_") and unlike(name, arguments, keywords):
        return len(lists[0])
    is_new = name.startswith("_foreach_") and not name.endswith("_")
    return chunked([*lists, lists[0]] if is_new else lists)


def unlike(name: str, arguments: Sequence[Any], keywords: dict[str, Any]) -> str | None:
    """Why ATen or cuDNN cannot take the lists in one pass (`can_use_fast_route` in ForeachUtils.h); None if it can."""
    lists = tensor_lists(arguments, keywords)
    if name.startswith("_foreach_") and len(lists) < len(all_lists(arguments, keywords)):
        return f"a list of {len(lists[0])} tensors and one of other shapes"
    if any(len({tensor.dtype for tensor in tensors}) > 1 for tensors in lists):
        return f"{len(lists[0])} tensors of unlike dtypes"
    if len({tensors[0].dtype for tensors in lists}) > 1 and name != "_foreach_copy_":
        return f"lists of unlike dtypes: {', '.join(str(tensors[0].dtype) for tensors in lists)}"
    for row in zip(*lists, strict=True):
        if len({row_strides(tensor) for tensor in row}) > 1:
            return f"strides {', '.join(str(tensor.stride()) for tensor in row)} of {tuple(row[0].shape)}"
        if not all(map(is_non_overlapping_and_dense_or_false, row)):
            return f"gaps in memory in {tuple(row[0].shape)}"
    return None


def tensor_lists(arguments: Sequence[Any], keywords: dict[str, Any]) -> list[list[Tensor]]:
    """The lists that are walked over together: not the step counts and scalars that fused optimizers take beside."""
    lists = all_lists(arguments, keywords)
    shapes = [tuple(tensor.shape) for tensor in lists[0]]
    return [tensors for tensors in lists if [tuple(tensor.shape) for tensor in tensors] == shapes]


def all_lists(arguments: Sequence[Any], keywords: dict[str, Any]) -> list[list[Tensor]]:
    values = [*arguments, *keywords.values()]
    return [value for value in values if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor)]


def row_strides(tensor: Tensor) -> tuple[int, ...]:
    """The strides that count: not those of dimensions with one entry."""
    return tuple(stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1)


def chunked(lists: list[list[Tensor]]) -> int:
    """Launches of `multi_tensor_apply` over lists of equal shapes."""
    most_tensors = MOST_TENSORS[min(len(lists), max(MOST_TENSORS))]
    count = tensors = blocks = 0
    for tensor in lists[0]:
        tensors += 1
        chunks = math.ceil(tensor.numel() / CHUNK)
        for chunk in range(chunks):
            blocks += 1
            if blocks == MOST_BLOCKS or (tensors == most_tensors and chunk == chunks - 1):
                count, blocks = count + 1, 0
                tensors = 0 if chunk == chunks - 1 else 1
    return count + (blocks > 0)
