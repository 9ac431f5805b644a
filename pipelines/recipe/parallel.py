"""Training in large batches and with several processes."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.recipe.config import Config, NonNegative, Positive


class Scaling(Config):
    """How the learning rate changes with the batch size (Goyal et al. 2017, arXiv 1706.02677).

    k is `batch_size` over `reference_batch`. The number of processes that share the batch makes no difference.
    """

    reference_batch: Annotated[int, Field(ge=1)]
    """the batch size that `optimizer.lr` is meant for"""
    lr: Literal["linear", "sqrt", "none"] = "linear"
    """multiply the learning rate by k, by its square root, or not at all"""
    warmup: Literal["gradual", "constant", "none"] = "gradual"
    """how the scaled rate is reached: in a straight line from the unscaled rate; in one step after a phase at the
    unscaled rate; or from the first step"""
    warmup_epochs: NonNegative = 5.0
    """epochs of that warm-up"""


class Parallel(Config):
    """How several processes share the work of a step. It has no effect on a single process."""

    strategy: Literal["ddp", "fsdp2", "deepspeed", "local_sgd", "pipeline", "model", "tensor", "columns"] = "ddp"
    """`ddp`: every process has the whole network, and gradients are averaged (torch's DistributedDataParallel);
    `fsdp2`: each has a shard of weights, gradients and optimizer state, and the weights of a block are gathered when it
    is computed (torch's fully_shard); `deepspeed`: DeepSpeed, which shards what `zero_stage` says (extra `deepspeed`);
    `local_sgd`: every process has the whole network and steps on its own gradients, and weights are averaged every few
    steps (torch's PostLocalSGDOptimizer);
    `pipeline`: each has a stage of consecutive layers, through which `accumulation` micro-batches pass (torch's
    distributed.pipelining); `model`: the same with the whole batch at once, so that one process computes at a time;
    `tensor`: each has a slice of the linear layers' weights (torch's parallelize_module), and convolutions are whole.
    `columns`: each of two has a column of `model.name=alexnet`, as its authors had it on two GPUs.
    Under all but `ddp` and `local_sgd` only the images are in the memory order of `channels_last`"""
    size: Annotated[int, Field(ge=2)] | None = None
    """processes with neighbouring ranks that share one copy of the network, under `pipeline`, `model`, `tensor`,
    `columns` and `fsdp2`; the copies are data-parallel (under `fsdp2`: HSDP). null: all processes share one"""
    schedule: Literal["gpipe", "1f1b", "interleaved"] = "1f1b"
    """order of the micro-batches under `pipeline`: `gpipe`, all forward passes first (Huang et al. 2019); `1f1b`, one
    forward, one backward, which keeps fewer activations (Narayanan et al. 2019); `interleaved`, 1F1B with
    `stages_per_process` (Narayanan et al. 2021)"""
    stages_per_process: Annotated[int, Field(ge=1)] = 1
    """stages of each process under `schedule: interleaved`, which are not consecutive"""
    cut: tuple[str, ...] | None = None
    """layers with which the second and later stages begin, such as `[layers.3, head]`; null: where the most expensive
    stage has the fewest floating-point operations"""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """what DeepSpeed shards: nothing; optimizer state; gradients as well; weights as well, except those of fewer than
    100,000 numbers (ZeRO, Rajbhandari et al. 2020, arXiv 1910.02054)"""
    bucket_mb: Positive | None = None
    """DDP reduces gradients in buckets of this many MiB, each as soon as it is full; null: torch's own size"""
    compression: Literal["none", "fp16", "bf16", "power_sgd"] = "none"
    """what DDP sends: whole gradients; gradients in 16 bits, of which `fp16` overflows above 65,504; or two thin
    matrices for each gradient of two or more dimensions (PowerSGD, Vogels et al. 2019, arXiv 1905.13727), which keeps
    the rest for the next step, a copy of the gradients. torch's communication hooks. The weights are no longer those
    of one process"""
    power_sgd_rank: Annotated[int, Field(ge=1)] = 1
    """columns of the thin matrices"""
    power_sgd_start: Annotated[int, Field(ge=2)] = 10
    """steps with whole gradients before PowerSGD begins; torch's own 1,000 is more than a short training has"""
    local_sgd_period: Annotated[int, Field(ge=1)] = 4
    """steps from one averaging of the weights to the next. Before every evaluation they are averaged too"""
    local_sgd_start: Annotated[int, Field(ge=0)] = 0
    """steps with an all-reduce of the gradients before local SGD begins (post-local SGD, Lin et al. 2020, arXiv
    1808.07217)"""
    sync_gradients: bool = True
    """false: every process trains on its share alone. It shows what the gradient all-reduce costs and is no training of
    the recipe"""

    augmentation: Literal["shared", "per_rank"] = "shared"
    """`shared`: every process draws the augmentation of all images from the same stream and uses that of its share, so
    that any number of processes trains the same weights; it draws as many random numbers as a single process does;
    `per_rank`: each draws for its own images alone, from a stream of its own. That is less work for each (`elastic`
    holds displacements of all images in memory while it draws), and another number of processes trains on other
    images"""

    @property
    def package(self) -> str | None:
        """The package that the strategy needs, which comes with the extra of the same name; None: none."""
        return "deepspeed" if self.strategy == "deepspeed" else None

    @property
    def warm_up_steps(self) -> int:
        """Steps after which the processes have sent gradients in every way in which they do."""
        return self.power_sgd_start + 1 if self.compression == "power_sgd" else 1

    @property
    def is_replicated(self) -> bool:
        """Whether every process has the whole network, its gradients and the optimizer's state."""
        return self.strategy in ("ddp", "local_sgd")

    @property
    def shares_images(self) -> bool:
        """Whether the processes that share a copy of the network train on the same images."""
        return self.strategy in ("pipeline", "model", "tensor", "columns")

    @property
    def has_whole_weights(self) -> bool:
        """Whether every process has the whole weights between two steps."""
        return self.is_replicated or (self.strategy == "deepspeed" and self.zero_stage < 3)

    @property
    def allows_missing_gradients(self) -> bool:
        """Whether a parameter without a gradient is left alone. DeepSpeed gives it a gradient of zero, and momentum
        and weight decay go on changing it; stages are called without what switches the gradient off."""
        return self.strategy in ("ddp", "local_sgd", "fsdp2", "tensor", "columns")


STRATEGIES: dict[str, tuple[str, ...]] = {
    "ddp": ("parallel.strategy=ddp",),
    "ddp-fp16": ("parallel.strategy=ddp", "parallel.compression=fp16"),
    "ddp-bf16": ("parallel.strategy=ddp", "parallel.compression=bf16"),
    "ddp-power-sgd": ("parallel.strategy=ddp", "parallel.compression=power_sgd"),
    "local-sgd": ("parallel.strategy=local_sgd",),
    "post-local-sgd": ("parallel.strategy=local_sgd", "parallel.local_sgd_start=100"),
    "fsdp2": ("parallel.strategy=fsdp2",),
    "hsdp": ("parallel.strategy=fsdp2", "parallel.size=2"),
    "pipeline": ("parallel.strategy=pipeline",),
    "pipeline-2x2": ("parallel.strategy=pipeline", "parallel.size=2"),
    "pipeline-gpipe": ("parallel.strategy=pipeline", "parallel.schedule=gpipe"),
    "pipeline-interleaved": (
        "parallel.strategy=pipeline",
        "parallel.schedule=interleaved",
        "parallel.stages_per_process=2",
    ),
    "model": ("parallel.strategy=model", "accumulation=1"),
    "tensor": ("parallel.strategy=tensor",),
    "tensor-2x2": ("parallel.strategy=tensor", "parallel.size=2"),
    "columns": ("parallel.strategy=columns",),
    **{f"zero-{stage}": ("parallel.strategy=deepspeed", f"parallel.zero_stage={stage}") for stage in range(4)},
}
"""What a recipe says for each strategy, by the name that it has in comparisons, and as a recipe in configs/"""
