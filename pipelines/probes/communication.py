"""The bytes that a process sends in a training step: counted, and by the strategy's formula.

Every collective operation of torch passes its dispatcher, DDP's and FSDP2's too, where `BytesSent` sees the tensors. A
ring sends a known share of them. What the connection adds, such as headers, is not counted.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

from pipelines.distributed.ring import all_reduce, once, to_all_others
from pipelines.events import State
from pipelines.train import TrainingSetup, run_trial

WARM_UP_STEPS = 12
"""steps before those that are counted: buckets are rebuilt in them"""

Share = Callable[[int], float]
"""What a process sends of a tensor of one byte, from the number of processes in the group; the mean over them"""


def alone(processes: int) -> float:
    """The tensor itself, to one process."""
    return 1


def nothing(processes: int) -> float:
    """Nothing is sent."""
    return 0


COLLECTIVES: Mapping[str, tuple[int, Share]] = {
    "c10d.allreduce_": (0, all_reduce),
    "c10d.allreduce_coalesced_": (0, all_reduce),
    "c10d.broadcast_": (0, once),
    "c10d.reduce_": (0, once),
    "c10d.allgather_": (1, to_all_others),
    "c10d._allgather_base_": (1, to_all_others),
    "c10d.allgather_coalesced_": (1, to_all_others),
    "c10d.allgather_into_tensor_coalesced_": (1, to_all_others),
    "c10d.reduce_scatter_": (0, to_all_others),
    "c10d._reduce_scatter_base_": (0, to_all_others),
    "c10d.reduce_scatter_tensor_coalesced_": (0, to_all_others),
    "c10d.alltoall_": (1, once),
    "c10d.alltoall_base_": (1, once),
    "c10d.gather_": (1, once),
    "c10d.scatter_": (0, once),
    "c10d.send": (0, alone),
    "c10d.recv_": (0, nothing),
    "c10d.recv_any_source_": (0, nothing),
    "c10d.barrier": (0, nothing),
    "_c10d_functional.all_reduce": (0, all_reduce),
    "_c10d_functional.all_reduce_": (0, all_reduce),
    "_c10d_functional.all_reduce_coalesced": (0, all_reduce),
    "_c10d_functional.all_gather_into_tensor": (0, to_all_others),
    "_c10d_functional.all_gather_into_tensor_coalesced": (0, to_all_others),
    "_c10d_functional.reduce_scatter_tensor": (0, once),
    "_c10d_functional.reduce_scatter_tensor_coalesced": (0, once),
    "_c10d_functional.all_to_all_single": (0, once),
    "_c10d_functional.broadcast": (0, once),
    "_c10d_functional.wait_tensor": (0, nothing),
    "_c10d_functional._wrap_tensor_autograd": (0, nothing),
}
"""By its name in torch's dispatcher: the argument that holds the counted tensors, and what a process sends of them"""


class BytesSent(TorchDispatchMode):
    """While it is entered, counts what this process sends. KeyError for a collective that `COLLECTIVES` lacks.

    A dispatch mode sees its own thread, and those of autograd in which a GPU's backward pass runs. PowerSGD calls
    `all_reduce` in a callback of gloo's thread too.
    """

    def __init__(self, sent: list[float] | None = None) -> None:
        super().__init__()
        self._sent: list[float] = [] if sent is None else sent

    @property
    def total(self) -> float:
        """Bytes."""
        return sum(self._sent)

    @contextmanager
    def in_all_threads(self) -> Iterator[None]:
        """Counts the all-reduces of threads too that the mode does not see."""
        original = dist.all_reduce

        def counted(*arguments: Any, **options: Any) -> Any:
            if any(isinstance(mode, BytesSent) for mode in _get_current_dispatch_mode_stack()):
                return original(*arguments, **options)
            with BytesSent(self._sent):
                return original(*arguments, **options)

        with patch.object(dist, "all_reduce", counted), self:
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            position, share = COLLECTIVES[f"{func.namespace}.{func._opname}"]
            size = sum(leaf.nbytes for leaf in tree_leaves(args[position]) if isinstance(leaf, Tensor))
            self._sent.append(share(group_size(args)) * size)
        return func(*args, **(kwargs or {}))


def group_size(arguments: tuple[Any, ...]) -> int:
    """The number of processes of the group among the arguments of a collective: an object, or at the end its name."""
    for argument in arguments:
        if isinstance(argument, torch.ScriptObject) and "ProcessGroup" in str(argument._type()):
            return dist.ProcessGroup.unbox(argument).size()
    if isinstance(arguments[-1], str):
        return distributed_c10d._resolve_process_group(arguments[-1]).size()
    return 1


class CountedSteps:
    """An observer that counts in a few steps after the first ones, and ends the trial with them."""

    def __init__(self, first: int, steps: int) -> None:
        self.sent = BytesSent()
        self._counting = ExitStack()
        self.first, self._end = first, first + steps

    def trial_start(self, state: State) -> None:
        self.first = min(self.first, max(state.steps - (self._end - self.first), 0))
        self._end = state.steps = min(self._end, state.steps)

    @property
    def steps(self) -> int:
        """How many are counted."""
        return self._end - self.first

    def batch_ready(self, state: State) -> None:
        if state.step == self.first:
            self._counting.enter_context(self.sent.in_all_threads())

    def step_end(self, state: State) -> None:
        if state.step == self._end:
            self._counting.close()


@dataclass(frozen=True)
class Communication:
    """Bytes that a process sends in a step, the mean over the processes and over the steps of a period."""

    bytes_per_step: float
    formula_bytes: float | None
    """None: there is no formula for the strategy, or the training ends in its first phase"""


def measure(setup: TrainingSetup, seed: int) -> Communication:
    """Train for a few steps, which are no part of the results. Every process has to call it.

    Of post-local SGD and PowerSGD the steps after the first phase are counted.
    """
    parallel, world = setup.recipe.parallel, setup.world
    period = parallel.local_sgd_period if parallel.strategy == "local_sgd" else 1
    first_phase = parallel.power_sgd_start if parallel.compression == "power_sgd" else parallel.local_sgd_start
    counted = CountedSteps(first_phase + WARM_UP_STEPS, period)
    run_trial(setup, seed, [counted])
    sent = world.sum(torch.tensor(counted.sent.total / counted.steps, dtype=torch.float64)).item() / world.size
    is_of_first_phase = counted.first < first_phase  # which sends other bytes, and is all of a short training
    return Communication(sent, None if is_of_first_phase else setup.strategy.traffic.sent_bytes)
