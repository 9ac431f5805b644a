"""The process group: the rank of this process, and the collective operations of all of them."""

import gc
import itertools
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from pipelines.distributed.launch_variables import REMEDY
from pipelines.host.devices import find_device

CPU = torch.device("cpu")
TIMEOUT = 300.0
"""seconds that a process waits for the others before it gives them up"""
POLL = 0.2
"""seconds between two looks for a sign of rank 0"""
MEET = 0.02
"""the same where the processes meet, which counts as start-up"""
_WAITS = itertools.count()
_ATTEMPT = "paceline/attempt"

Result = TypeVar("Result")


class JoinError(ValueError):
    """This process did not find the others, so that none of them can report the error for it."""


@dataclass(frozen=True)
class World:
    """This process among all processes of the run, or among those of a dimension of its device mesh."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    """where this process computes, and what its group of processes can send"""
    group: dist.ProcessGroup | None = None
    """torch's group of these processes; None: that of all processes of the run"""
    mesh: DeviceMesh | None = None
    """of the dimensions `data` and `model`; None: all processes are data-parallel"""

    @cached_property  # to slice a mesh makes a new one, and some strategies ask in every step
    def data(self) -> "World":
        """The data-parallel processes: loaders, evaluation and statistics share images among these alone."""
        return self if self.mesh is None else self._dimension(self.mesh, "data")

    @cached_property
    def model(self) -> "World":
        """The processes that share one copy of the network, and train on the same images."""
        return World(device=self.device) if self.mesh is None else self._dimension(self.mesh, "model")

    def _dimension(self, mesh: DeviceMesh, name: str) -> "World":
        sub_mesh = mesh[name]
        return World(sub_mesh.get_local_rank(), sub_mesh.size(), self.device, sub_mesh.get_group())

    @property
    def is_main(self) -> bool:
        """Whether this process writes the record and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on every one of them."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def maximum(self, values: Tensor) -> Tensor:
        """The maximum over all processes, on every one of them."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.size == 1:
            return values
        on_device = values.to(self.device)  # nccl knows nothing of host memory
        dist.all_reduce(on_device, operation, group=self.group)
        return on_device.to(values.device)

    def broadcast(self, tensor: Tensor) -> None:
        """Put rank 0's values into the tensor of every process."""
        if self.size > 1:
            dist.broadcast(tensor, group=self.group, group_src=0)

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, on every process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, group=self.group, group_src=0)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes in the order of their ranks, on every process."""
        values = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value, group=self.group)
        return values

    def run_on_all(self, action: Callable[[], Result]) -> Result:
        """What `action` returns here, if it fails on no process.

        ValueError, on all of them, where it raised a ValueError or OSError on one, so that none waits in vain.
        """
        if self.size == 1:
            return action()
        message, cause = None, None
        try:
            result = action()
        except (ValueError, OSError) as error:
            message, cause = str(error), error
        messages = self.gather(message)
        if len(set(messages)) == 1 and message is not None:
            raise ValueError(message) from cause
        if any(messages):
            of_ranks = (f"rank {rank}: {text}" for rank, text in enumerate(messages) if text)
            raise ValueError("; ".join(of_ranks)) from cause
        return result

    def wait_for_main(self, action: Callable[[], None]) -> None:
        """Return on all processes when rank 0 has done `action`, however long that takes. Rank 0 alone does it.

        The others look into the store now and then. A collective operation would end with the group's timeout, and
        NCCL's would keep the GPUs busy until then. If `action` raises, `failures.Watcher` tells the others.
        """
        if self.is_main:
            action()
        if self.size > 1:
            store, key = (self.group or dist.group.WORLD).get_group_store(), f"paceline/waited/{next(_WAITS)}"
            if self.is_main:
                store.set(key, "")
            while not store.check([key]):
                time.sleep(POLL)
            self.barrier()  # no process begins earlier than the others

    def barrier(self) -> None:
        """Return when every process has called this."""
        if self.size > 1:
            dist.barrier(self.group)


def with_mesh(world: World, model_size: int) -> World:
    """The world as a device mesh of two dimensions: `model_size` processes with neighbouring ranks share a copy of the
    network, and the copies are data-parallel. Every process has to call it. `model_size` divides the world's size."""
    assert world.size % model_size == 0
    shape = (world.size // model_size, model_size)
    return replace(world, mesh=init_device_mesh(world.device.type, shape, mesh_dim_names=("data", "model")))


def check_alike(world: World, facts: Mapping[str, str]) -> None:
    """ValueError, on all processes, where a fact is not what it is on rank 0."""
    first, *others = world.gather(dict(facts))
    for rank, theirs in enumerate(others, start=1):
        for name, value in theirs.items():
            if value != first[name]:
                raise ValueError(
                    f"the processes must have the same {name}: rank 0 has {first[name]!r} and rank {rank} has {value!r}"
                )


def alone(device: str) -> World:
    """This process without others, on its device. ValueError when there is no such device."""
    found = find_device(device)
    make_current(found)
    return World(device=found)


def make_current(device: torch.device) -> None:
    """Make a GPU the one that torch takes for `cuda`, and on which Triton launches its kernels."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def join(device: str, timeout: float = TIMEOUT) -> World:
    """Join the processes that `accelerate launch` or torchrun started, and find this one's device.

    timeout: seconds to wait for the others, here and in every collective operation. ValueError when the processes do
    not add up or do not come together, or there is no such device. JoinError where each process has to print it.
    """
    size, rank, local_rank, local_size = (
        int(os.environ.get(name, default))
        for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
    )
    try:
        found = find_device(device, local_rank, local_size)
    except ValueError as error:
        raise JoinError(f"rank {rank}: {error}") if size > 1 else error from None
    make_current(found)
    if size > 1:
        init_process_group(found, rank, size, timeout)
    state = PartialState(cpu=found.type == "cpu")  # Accelerate finds the process group that there is
    make_current(found)  # Accelerate has taken the GPU of the local rank, which `device` may not name
    if state.num_processes != size:
        raise JoinError(
            f"the launcher started {size} processes, but this one, rank {rank}, sees {state.num_processes}; {REMEDY}"
        )
    return World(rank, size, found)


def init_process_group(device: torch.device, rank: int, size: int, timeout: float) -> None:
    """torch's process group of all processes: NCCL between GPUs, gloo between CPUs. JoinError if they do not meet."""
    limit = timedelta(seconds=timeout)
    is_cuda = device.type == "cuda"
    # groups that are made later, of a mesh or by DeepSpeed, would have torch's own: 10 minutes for NCCL, 30 for gloo
    distributed_c10d.default_pg_timeout = distributed_c10d.default_pg_nccl_timeout = limit
    try:
        dist.init_process_group(
            "nccl" if is_cuda else "gloo",
            timeout=limit,
            device_id=device if is_cuda else None,  # connects at once, and tells NCCL's barrier its device
            **store_of_attempt(limit),
        )
    except (dist.DistError, RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise JoinError(
            f"rank {rank} of {size} found no way to the others through {place} within {timeout:g} s: "
            f"{summary_line(error)}; are so many processes started, and is the port free?"
        ) from error


def store_of_attempt(limit: timedelta) -> dict[str, Any]:
    """Where the processes of this attempt meet, as arguments of `init_process_group`; nothing if torch finds it alone.

    torchrun keeps its store when it restarts the processes, and torch 2.13 would find the addresses of dead ones there.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {}
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=limit)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    attempt = name_of_attempt(store, rank, size, limit)
    return {"store": dist.PrefixStore(attempt, store), "rank": rank, "world_size": size}


def name_of_attempt(store: dist.Store, rank: int, size: int, limit: timedelta) -> str:
    """A name that all processes of this attempt agree on, in a store that has what earlier attempts left there.

    torchrun gives no number of the attempt: on several machines TORCHELASTIC_RESTART_COUNT rises only where a process
    failed (torch 2.13). So rank 0 draws the name. The others give a word of their own for the name that they find, and
    take the name when its answer has that word. DistStoreError where they do not meet in time.
    """
    own = secrets.token_hex(8)
    if rank == 0:
        store.set(_ATTEMPT, own)
        words = [f"{_ATTEMPT}/{own}/{other}" for other in range(1, size)]
        store.wait(words, limit)
        store.set(f"{_ATTEMPT}/{own}/answer", " ".join(store.get(word).decode() for word in words))
        return own
    end = time.monotonic() + limit.total_seconds()
    while time.monotonic() < end:
        name = store.get(_ATTEMPT).decode()
        store.set(f"{_ATTEMPT}/{name}/{rank}", own)
        answer = f"{_ATTEMPT}/{name}/answer"
        if store.check([answer]) and own in store.get(answer).decode().split():
            return name
        time.sleep(MEET)
    raise dist.DistStoreError("rank 0 does not answer")


def summary_line(error: BaseException) -> str:
    """What an error says, without torch's stack of C++ frames below it.

    NCCL names the cause further down, as its last error. An error in a loader's worker quotes the worker's traceback,
    whose last line counts.
    """
    text = str(error).strip()
    lines = text.splitlines() or [""]
    if "Original Traceback" in text:
        return lines[-1]
    cause = text.partition("\nLast error:\n")[2].partition("\n")[0]
    return f"{lines[0]}: {cause}" if cause else lines[0]


def leave() -> None:
    """Leave the process group, where there is one. Call it when nothing holds a replicated network any more: gloo's
    threads live as long as the network does, and abort the interpreter at its end."""
    gc.collect()
    if dist.is_initialized():  # Accelerate makes one also of a single process that torchrun started
        dist.destroy_process_group()
