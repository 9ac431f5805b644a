"""What tasks take of a machine or a cluster: CPU threads and GPUs of every process."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.host import nvml, runtime

ROUNDING = 1e-9
"""of shares of a GPU: ten of 0.1 fit, although 1 // 0.1 is 9"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for."""

    device: str = "auto"
    threads: int | None = None
    """of a process; None: its share of the CPUs"""
    processes: int = 1
    """of a task"""
    workers: int | None = None
    """tasks at a time on this machine; None: as many as a cluster has room for"""
    gpu_share: float | None = None
    """part of a GPU that a process takes, where tasks may share one"""

    def __post_init__(self) -> None:
        if self.device.startswith("cuda:"):
            raise ValueError(f"--device {self.device}: Ray chooses the GPU of each trial: use --device cuda")


def places(gpus: float, each: float) -> int:
    """How many tasks fit on these GPUs that take so many each, or a share of one, which lies on one GPU."""
    if each < 1:
        return int(gpus) * int(1 / each + ROUNDING)
    return int(gpus / each + ROUNDING)


def room_here(wanted: Wanted) -> dict[str, int]:
    """CPUs and GPUs that hold the workers of this machine, and no more. ValueError where it has too few."""
    assert wanted.workers
    processes = wanted.workers * wanted.processes
    cores = runtime.cores()
    if processes * (wanted.threads or 1) > cores:
        raise ValueError(f"--workers {wanted.workers}: their threads need more than the {cores} cores of this machine")
    gpus = 0 if wanted.device == "cpu" else len(nvml.visible(os.environ))
    needed = math.ceil(processes / places(1, wanted.gpu_share or 1))
    if gpus and needed > gpus:
        raise ValueError(f"--workers {wanted.workers}: they need {needed} GPUs, and there are {gpus}")
    threads = wanted.threads or cores // processes
    return {"cpus": processes * threads, "gpus": needed if gpus else 0}


def per_process(wanted: Wanted, nodes: Sequence[Mapping[str, float]]) -> tuple[float, int]:
    """The GPUs and the CPU threads of every process: the same on all nodes, so that their times compare.

    nodes: the resources of each. Without `threads`, tasks on GPUs share the CPUs of a node by its GPUs; a task on
    CPUs has a whole node, or its part of this machine. ValueError where there is no GPU to train on.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) > 0]
    if wanted.device == "cuda" and not with_gpus:
        raise ValueError("--device cuda: no node of the cluster has a GPU")
    gpus = (wanted.gpu_share or 1) if with_gpus and wanted.device != "cpu" else 0
    if wanted.gpu_share and not gpus:
        raise ValueError("--gpu-share: no node of the cluster has a GPU")
    if wanted.threads:
        return gpus, wanted.threads
    if gpus:
        return gpus, max(1, int(min(node["CPU"] // max(1, places(node["GPU"], gpus)) for node in with_gpus)))
    share = wanted.processes * (wanted.workers or 1)
    cpus = [node["CPU"] for node in nodes if node.get("CPU", 0) > 0]  # a head node may have none
    return 0, max(1, int(min(cpus, default=1) // share))
